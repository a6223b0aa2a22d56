"""What people say about incidents: by tenant, the last word counts, and it outlives the incident's row."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from collectors_dagster.errors import IncidentNotFoundError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Contribution, IncidentEventKind, Verdict, Window
from tests.support.store_data import AURORA, BOREALIS, DAY, after, checksum, incident, scored_minute

pytestmark = pytest.mark.every_edition


@pytest.fixture
def raised(store: Store) -> Store:
    """Return a store with two tenants, each with an incident."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        store.incidents.apply(tenant, [(IncidentEventKind.OPENED, incident(tenant))])
    return store


def number(store: Store, tenant: str = "aurora") -> int:
    [one] = store.incidents.list(tenant, DAY, "stream")
    assert one.id is not None
    return one.id


def test_a_verdict_keeps_what_it_was_about_and_the_last_word_counts(raised: Store) -> None:
    raised.feedback.say(
        "aurora", number(raised), Verdict.NORMAL, reason="the backup", said_by="ann", said_at=after(900)
    )
    said = raised.feedback.say("aurora", number(raised), Verdict.REAL, reason="", said_by="bob", said_at=after(950))
    assert raised.feedback.list("aurora") == [said]
    about = incident()
    assert (said.host, said.opened_at, said.ended_at) == (about.host, about.opened_at, after(950))
    assert (said.verdict, said.said_by, said.said_at, said.title) == (Verdict.REAL, "bob", after(950), about.title)
    assert said.contributions == about.contributions


def test_an_incident_of_another_tenant_is_none(raised: Store, database: SecretStr) -> None:
    before = checksum(database)
    theirs = number(raised, "borealis")
    with pytest.raises(IncidentNotFoundError, match="aurora"):
        raised.feedback.say("aurora", theirs, Verdict.NORMAL, reason="", said_by="ann", said_at=after(900))
    with pytest.raises(IncidentNotFoundError):
        raised.feedback.forget("aurora", theirs)
    assert checksum(database) == before
    assert raised.feedback.list("borealis") == []


def test_a_verdict_is_about_all_that_was_strange_in_the_incidents_minutes(raised: Store) -> None:
    begun = incident().contributions[0]
    worse = replace(begun, expected_high=1.0, value=9.0)
    other = Contribution("cpu_utilization_ratio", 0.1, 0.4, 0.6, 5.0)
    minutes = [replace(scored_minute(n), contributions=parts) for n, parts in ((2, (worse,)), (3, (other,)))]
    raised.scores.write(
        "aurora", "stream", [*minutes, replace(scored_minute(99), contributions=(replace(worse, value=99.0),))]
    )
    raised.scores.write("borealis", "stream", [replace(scored_minute(2), contributions=(replace(worse, value=50.0),))])
    said = raised.feedback.say("aurora", number(raised), Verdict.NORMAL, reason="", said_by="ann", said_at=after(900))
    assert said.contributions == (worse, other)


def test_a_word_can_be_taken_back(raised: Store) -> None:
    raised.feedback.say("aurora", number(raised), Verdict.REAL, reason="", said_by="ann", said_at=after(900))
    raised.feedback.forget("aurora", number(raised))
    raised.feedback.forget("aurora", number(raised))
    assert raised.feedback.list("aurora") == []


def test_history_scored_again_keeps_what_was_said_of_it(raised: Store) -> None:
    old = incident(source="batch", host="host-2")
    raised.incidents.replace_batch("aurora", DAY, [replace(old, resolved_at=after(600))])
    [first] = raised.incidents.list("aurora", DAY, "batch")
    assert first.id is not None
    said = raised.feedback.say("aurora", first.id, Verdict.NORMAL, reason="", said_by="ann", said_at=after(900))
    raised.incidents.replace_batch("aurora", DAY, [replace(old, resolved_at=after(660))])
    [again] = raised.incidents.list("aurora", DAY, "batch")
    assert again.id != first.id
    assert again.id is not None
    assert raised.feedback.list("aurora", DAY) == [said]
    more = raised.feedback.say("aurora", again.id, Verdict.REAL, reason="", said_by="ann", said_at=after(990))
    assert raised.feedback.list("aurora") == [more]
    assert more.ended_at == after(660)


def test_verdicts_are_found_by_time_and_forgotten_with_the_incidents(raised: Store) -> None:
    raised.feedback.say("aurora", number(raised), Verdict.REAL, reason="", said_by="ann", said_at=after(900))
    assert raised.feedback.list("aurora", Window(after(901), after(960))) == []
    raised.retention.apply("aurora", 7, 30, after(86_400 * 20))
    assert len(raised.feedback.list("aurora")) == 1
    raised.retention.apply("aurora", 7, 30, after(86_400 * 40))
    assert raised.feedback.list("aurora") == []
