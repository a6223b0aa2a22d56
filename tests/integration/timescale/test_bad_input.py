"""What cannot be right is refused with its reason, tenant and source, and counted; nothing else is lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.delivery import SLICE_SAMPLES
from collectors_dagster.integrations.timescale.refusals import Reason
from collectors_dagster.integrations.timescale.samples import LoadResult, SampleTable
from collectors_dagster.integrations.timescale.series import SeriesTable
from collectors_dagster.integrations.timescale.sifting import Piece
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window
from collectors_dagster.samples import Sample, SeriesKey
from tests.support.store_data import (
    AURORA,
    BOREALIS,
    DAY,
    LOAD1,
    NOON,
    READS,
    after,
    batch,
    checksum,
    day_of_samples,
)

pytestmark = pytest.mark.every_edition

HOUR = Window(NOON, after(3600))
SERIES = [LOAD1, READS]


@pytest.fixture
def tenants(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


@pytest.fixture
def agent(tenants: Store, delivery_store: DeliveryStore) -> DeliveryStore:
    """Return the agent's store with the same tenants."""
    return delivery_store


def piece(rows: list[tuple[int, float, float]]) -> Piece:
    """Return rows of (position of the series, seconds after noon, value)."""
    index, seconds, values = zip(*rows, strict=True)
    ts = [np.datetime64(after(each).replace(tzinfo=None), "us") for each in seconds]
    return Piece(np.array(index), np.array(ts), np.array(values, dtype=np.float64))


def load(store: Store, *pieces: Piece, series: list[SeriesKey] = SERIES) -> LoadResult:
    """Load an hour piece by piece."""
    return store.samples.write_pieces("aurora", "demo", HOUR, series=series, pieces=iter(pieces), run_id="run-1")


def load_at_once(store: Store, given: Piece, series: list[SeriesKey] = SERIES) -> LoadResult:
    """Load an hour of arrays."""
    return store.samples.write_window(
        "aurora", "demo", HOUR, series=series, index=given.index, ts=given.ts, values=given.values, run_id="run-1"
    )


def stored(database: SecretStr) -> list[tuple[str, datetime, float]]:
    """Return all samples."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(
            "select s.metric, p.ts, p.value from core.sample p join core.series s using (series_id) order by 1, 2"
        ).fetchall()


def told(store: Store, window: Window = DAY, tenant: str = "aurora") -> list[tuple[str, str, str, int]]:
    """Return what the books say was refused."""
    return [(one.host, one.collector, one.reason, one.samples) for one in store.ledger.refused(tenant, window)]


GOOD = [(0, 10.0, 1.0), (1, 10.0, 5.0), (0, 20.0, 2.0)]
YEARS = 366 * 86_400.0
BAD = {
    Reason.NAN: (0, 30.0, np.nan),
    Reason.INFINITE: (0, 30.0, -np.inf),
    Reason.TOO_LARGE: (0, 30.0, 1e101),
    Reason.ANCIENT: (0, -50 * YEARS, 3.0),
    Reason.FUTURE: (0, 500 * YEARS, 3.0),
    Reason.OUTSIDE: (0, 3601.0, 3.0),
    Reason.DUPLICATE: (0, 10.0, 3.0),
}


@pytest.mark.parametrize("write", [load, load_at_once])
@pytest.mark.parametrize("reason", list(BAD))
def test_a_bad_sample_of_a_load_is_left_out_and_counted_and_the_rest_is_stored(
    tenants: Store, database: SecretStr, reason: Reason, write: Callable[[Store, Piece], LoadResult]
) -> None:
    done = write(tenants, piece([*GOOD, BAD[reason]]))
    assert (done.rows, done.refused) == (3, 1)
    assert stored(database) == [
        (READS.metric, after(10), 5.0),
        ("load1", after(10), 1.0),
        ("load1", after(20), 2.0),
    ]
    assert told(tenants) == [("host-1", "load", reason, 1)]
    assert write(tenants, piece([*GOOD, BAD[reason]])) == done
    assert told(tenants) == [("host-1", "load", reason, 1)]
    assert write(tenants, piece(GOOD)).sha256 == done.sha256
    assert told(tenants) == []


@pytest.mark.parametrize("place", [2, -1])
def test_a_sample_of_no_series_is_counted_under_the_loads_name(tenants: Store, place: int) -> None:
    assert load(tenants, piece([*GOOD, (place, 30.0, 1.0)])).rows == 3
    assert told(tenants) == [("unknown", "demo", Reason.UNKNOWN_SERIES, 1)]


def test_samples_in_another_unit_are_refused_and_their_series_stays_as_it_was(
    tenants: Store, database: SecretStr
) -> None:
    load_at_once(tenants, piece(GOOD))
    before = stored(database)
    other = [replace(LOAD1, unit="percent"), READS]
    assert load_at_once(tenants, piece([(0, 30.0, 100.0), (1, 20.0, 6.0)]), other).refused == 1
    assert stored(database) == [(READS.metric, after(20), 6.0), *before[1:]]
    assert told(tenants) == [("host-1", "load", Reason.WRONG_UNIT, 1)]
    (refused,) = tenants.ledger.refused("aurora", DAY)
    assert refused.example == "load1 = 100 at 2026-01-05T12:00:30"


def test_values_that_an_earlier_piece_had_already_are_counted_and_the_earlier_ones_stay(
    tenants: Store, database: SecretStr
) -> None:
    pieces = [piece(GOOD), piece([(0, 20.0, 9.0), (0, 30.0, 3.0), (1, 10.0, 9.0), (1, 20.0, 6.0)])]
    done = load(tenants, *pieces)
    assert (done.rows, done.refused) == (5, 2)
    assert [value for _, _, value in stored(database)] == [5.0, 6.0, 1.0, 2.0, 3.0]
    assert load(tenants, *pieces) == done


def test_a_load_meets_what_an_agent_delivers_meanwhile(
    tenants: Store, agent: DeliveryStore, database: SecretStr
) -> None:
    def pieces() -> Iterator[Piece]:
        agent.deliver(batch(1, 1, step=10.0))  # after the window was emptied
        yield piece(GOOD)

    done = tenants.samples.write_pieces("aurora", "demo", HOUR, series=SERIES, pieces=pieces(), run_id="run-1")
    assert (done.rows, done.refused) == (2, 1)
    assert len(stored(database)) == 3


def test_the_checksum_is_that_of_the_content_whatever_the_pieces(tenants: Store) -> None:
    rows = [(place, 10.0 * n, n + place / 2) for n in range(1, 50) for place in (0, 1)]
    whole = load_at_once(tenants, piece(rows))
    assert load(tenants, *(piece(rows[n : n + 7]) for n in range(0, len(rows), 7))) == whole
    assert load(tenants, *(piece(rows[n : n + 7]) for n in range(91, -1, -7))) == whole
    assert load(tenants, piece(rows[:-1])).sha256 != whole.sha256


@pytest.mark.parametrize("limit", [100, 700])
def test_arrays_larger_than_a_piece_are_loaded_portion_by_portion(
    tenants: Store, database: SecretStr, limit: int
) -> None:
    """Each of the series in portions of its own, or some series to a portion."""
    data = day_of_samples(series=7, step=300)
    whole = tenants.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]  # a dict of arguments
    before = checksum(database)["sample"]
    connections = Database(database, application_name="tests", max_connections=1)
    series = SeriesTable(connections)
    table = SampleTable(connections, TenantTable(connections), series, FoundBackend(), piece_rows=limit)
    other = {**data, "values": data["values"] + 1.0}  # type: ignore[operator]  # a dict of arguments
    assert table.write_window("aurora", "demo", DAY, **other).rows == whole.rows  # type: ignore[arg-type]  # a dict of arguments
    assert checksum(database)["sample"] != before
    assert table.write_window("aurora", "demo", DAY, **data) == whole  # type: ignore[arg-type]  # a dict of arguments
    assert checksum(database)["sample"] == before
    connections.close()


def test_a_tenant_that_is_removed_while_its_load_runs_keeps_what_it_had(tenants: Store, database: SecretStr) -> None:
    load(tenants, piece(GOOD))
    before = checksum(database)

    def pieces() -> Iterator[Piece]:
        yield piece([(0, 30.0, 3.0)])
        with Store(database, application_name="owner") as owner:
            owner.tenants.sync([BOREALIS])
        yield piece([(0, 40.0, 4.0)])

    with pytest.raises(
        StorageError, match="of host-1 for tenant 'aurora': the tenant was removed; nothing was changed"
    ):
        tenants.samples.write_pieces("aurora", "demo", HOUR, series=SERIES, pieces=pieces(), run_id="run-1")
    assert {**checksum(database), "tenant": ""} == {**before, "tenant": ""}
    with pytest.raises(StorageError, match="the tenant was removed"):
        load(tenants, piece(GOOD))
    tenants.tenants.sync([AURORA, BOREALIS])
    assert load(tenants, piece(GOOD)).rows == 3


def test_what_is_wrong_with_an_agents_samples_is_counted_once_and_the_rest_is_stored(
    tenants: Store, agent: DeliveryStore, database: SecretStr
) -> None:
    now = datetime.now(UTC)
    agent.deliver(batch(1, 1, series=READS))
    wrong = [
        Sample(LOAD1, after(30), float("nan")),
        Sample(LOAD1, after(30), float("inf")),
        Sample(LOAD1, after(30), -1e101),
        Sample(LOAD1, datetime(1970, 1, 1, tzinfo=UTC), 1.0),
        Sample(LOAD1, now + timedelta(days=400), 1.0),
        Sample(replace(READS, unit="bytes"), after(30), 1.0),
    ]
    good = batch(1, 2)
    sent = replace(good, epoch="epoch-2", samples=[*wrong, *good.samples])
    assert agent.deliver(sent).refused == 6
    assert not agent.deliver(sent).applied
    assert len(stored(database)) == 3
    assert sorted(told(tenants)) == [
        ("host-1", "disk", Reason.WRONG_UNIT, 1),
        ("host-1", "load", Reason.TOO_LARGE, 1),
        ("host-1", "load", Reason.INFINITE, 1),
        ("host-1", "load", Reason.NAN, 1),
    ]
    # What has a time that cannot be believed is booked under the hour in which it came.
    assert sorted(told(tenants, Window(now - timedelta(hours=1), now + timedelta(hours=1)))) == [
        ("host-1", "load", Reason.FUTURE, 1),
        ("host-1", "load", Reason.ANCIENT, 1),
    ]
    with psycopg.connect(database.get_secret_value()) as connection:
        span = connection.execute("select min(ts), max(ts) from core.sample").fetchone()
    assert span == (after(10), after(20))
    assert told(tenants, tenant="borealis") == []


def test_an_agents_batch_of_any_size_is_stored_exactly(agent: DeliveryStore, database: SecretStr) -> None:
    last = 2 * SLICE_SAMPLES + 10
    result = agent.deliver(batch(1, last, step=0.5))
    assert (result.rows, result.duplicates) == (last, 0)
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute("select count(*), sum(value), max(ts) from core.sample").fetchone()
    assert row == (last, last * (last + 1) / 2, after(0.5 * last))
