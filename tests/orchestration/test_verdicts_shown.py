"""What a person said about an incident stands beside it in the scores of record, and the like of it is not raised."""

from datetime import timedelta

import pytest

from assets.champions import Champions
from assets.recall import Recall
from assets.scoring import score_day
from assets.work import TenantDay, Tools
from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.features.feature_set import compute
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.records import Incident, Verdict, Window
from resources.deployment import Deployment
from tests.orchestration.conftest import AURORA, FolderRegistry, Tenants
from tests.support.histories import CPU, instant, quiet_host

DAY = 1440
HOST = "quiet-1"


class Scoring:
    """A champion that knows two quiet days, and days after them on which the host is busy for a while."""

    def __init__(self, store: Store, registry: FolderRegistry) -> None:
        self.store = store
        store.tenants.sync([AURORA])
        TenantDetector.fit({HOST: [quiet_host(2 * DAY + 10)]}, seed=0).save(
            registry.folder / "aurora" / "anomaly" / "1"
        )
        now = instant(quiet_host(1, first=9 * DAY))
        deployment = Deployment(load_settings(), ManualClock(now), Tenants(AURORA))
        self.tools = Tools(store, registry, deployment, Recall(store), Champions(registry), "run")  # type: ignore[arg-type]  # a registry in a folder
        self.now = now

    def score(self, number: int, level: float) -> tuple[dict[str, str], list[Incident]]:
        """Score a day that is busy from its 300th minute on, for twenty minutes; return what is shown and raised."""
        frame = quiet_host(DAY, first=number * DAY)
        frame.values[300:320, CPU] = level
        window = Window.of_day(f"{instant(frame, 0):%Y-%m-%d}")
        self.store.features.write("aurora", window, [compute(None, frame)], "run")
        shown = score_day(TenantDay(self.tools, AURORA, self.now, window))
        start, end = instant(frame, 290), instant(frame, 330)
        found = self.store.incidents.list("aurora", Window(start, end), "batch")
        return {name: str(value.value) for name, value in shown.items()}, found


@pytest.fixture
def scoring(store: Store, registry: FolderRegistry) -> Scoring:
    return Scoring(store, registry)


def test_a_verdict_is_shown_and_heeded_for_the_like_but_not_for_worse(scoring: Scoring) -> None:
    shown, [first] = scoring.score(3, 0.6)
    assert f"{first.title} | " in shown["episodes"]
    assert "nothing earlier" in shown["episodes"]
    assert "as rare as 1 in " in shown["episodes"] or "rarer than" in shown["episodes"]
    assert first.id is not None
    scoring.store.feedback.say(
        "aurora", first.id, Verdict.NORMAL, reason="the backup", said_by="ann", said_at=scoring.now
    )
    shown, again = scoring.score(3, 0.6)
    assert [one.opened_at for one in again] == [first.opened_at]  # what was judged stays on record
    assert "normal (ann: the backup)" in shown["episodes"]
    shown, alike = scoring.score(4, 0.55)
    assert alike == []
    assert int(shown["not_raised"]) >= 10
    shown, [worse] = scoring.score(5, 0.95)
    assert worse.opened_at > first.opened_at + timedelta(days=1)
    assert f"{first.opened_at:%Y-%m-%d %H:%M}, normal (ann: the backup)" in shown["episodes"]
