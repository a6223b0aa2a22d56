"""Samples in bulk: a window is exactly what was written last, or what it was before."""

from dataclasses import replace

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import ConstraintViolatedError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.reading import Edge, Selection
from collectors_dagster.integrations.timescale.refusals import Reason
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey
from tests.support.store_data import (
    AURORA,
    BOREALIS,
    DAY,
    LOAD1,
    NOON,
    READS,
    after,
    axis,
    batch,
    checksum,
    day_of_samples,
)

pytestmark = pytest.mark.every_edition

HOUR = Window(NOON, after(3600))


@pytest.fixture
def samples(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


def write(store: Store, window: Window = HOUR, value: float = 1.0, series: SeriesKey = LOAD1, step: int = 60) -> str:
    """Write one series with one value over a window; return the load's checksum."""
    ts = axis(window, step)
    result = store.samples.write_window(
        "aurora",
        "demo",
        window,
        series=[series],
        index=np.zeros(len(ts), dtype=np.int64),
        ts=ts,
        values=np.full(len(ts), value),
        run_id="run-1",
    )
    assert result.rows == len(ts)
    return result.sha256


def values(store: Store, window: Window, *metrics: str) -> list[tuple[str, list[float]]]:
    """Return what is stored of each series of these metrics, by the name of its metric."""
    wanted = Selection("aurora", window, metrics=metrics, edge=Edge.END)
    return [(one.series.metric, one.numbers["value"].tolist()) for one in store.reader.read(wanted)]


def test_a_window_written_again_is_exactly_the_new_one(samples: Store) -> None:
    write(samples, step=10)
    write(samples, value=2.0, step=60)
    assert values(samples, HOUR, "load1") == [("load1", [2.0] * 60)]


def test_writing_a_window_leaves_its_neighbours_and_other_sources(samples: Store) -> None:
    write(samples, Window(after(-3600), NOON))
    write(samples, Window(after(3600), after(7200)))
    write(samples, series=READS)
    write(samples)
    assert values(samples, DAY, "load1", READS.metric) == [(READS.metric, [1.0] * 60), ("load1", [1.0] * 180)]


def test_the_checksum_is_that_of_the_content_not_of_its_order(samples: Store) -> None:
    data = day_of_samples()
    first = samples.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]  # a dict of arguments
    shuffled = np.random.default_rng(1).permutation(len(data["values"]))  # type: ignore[arg-type]  # a dict of arguments
    turned = {name: data[name][shuffled] for name in ("index", "ts", "values")}  # type: ignore[index]  # a dict of arguments
    second = samples.samples.write_window("aurora", "demo", DAY, **{**data, **turned})
    assert first == second
    assert write(samples, value=1.0) != write(samples, value=2.0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.6, 1.0])
def test_a_window_corrected_in_part_is_exactly_the_new_one(samples: Store, database: SecretStr, share: float) -> None:
    """Values that came, went or changed, few or many; zero and its negative are two values."""
    data = day_of_samples(series=4, step=60)
    random = np.random.default_rng(3)
    index, ts, values = (np.asarray(data[name]) for name in ("index", "ts", "values"))
    values[::7] = 0.0
    turned = np.where(random.random(len(values)) < share, -values, values)
    kept, before = random.random(len(values)) >= share / 2, random.random(len(values)) >= share / 2
    for empty in (False, True):
        first = {**data, "index": index[before], "ts": ts[before], "values": values[before]}
        if not empty:
            samples.samples.write_window("aurora", "demo", DAY, **first)  # type: ignore[arg-type]  # a dict of arguments
        corrected = {**data, "index": index[kept], "ts": ts[kept], "values": turned[kept]}
        samples.samples.write_window("aurora" if not empty else "borealis", "demo", DAY, **corrected)  # type: ignore[arg-type]  # a dict of arguments
    with psycopg.connect(database.get_secret_value()) as connection:
        aurora, borealis = (
            connection.execute(
                "select s.metric, p.ts, p.value::text from core.sample p join core.series s using (series_id) "
                "join core.tenant t on t.tenant_key = p.tenant_key where tenant_id = %s order by 1, 2",
                [tenant],
            ).fetchall()
            for tenant in ("aurora", "borealis")
        )
    assert aurora == borealis
    assert len(aurora) == kept.sum()


def test_what_was_not_measured_is_not_stored(samples: Store) -> None:
    ts = axis(HOUR, 60)
    values = np.where(np.arange(60) % 2 == 0, np.nan, 1.0)
    index = np.zeros(60, dtype=np.int64)
    given = {"series": [LOAD1], "index": index, "ts": ts, "values": values, "run_id": "run-1"}
    done = samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]  # a dict of arguments
    assert (done.rows, done.refused) == (30, 30)


@pytest.mark.parametrize("seconds", [0, 3601, -10])
def test_a_sample_outside_of_its_window_is_refused(samples: Store, seconds: int, database: SecretStr) -> None:
    before = checksum(database)
    ts = np.array([after(seconds).replace(tzinfo=None)], dtype="datetime64[us]")
    given = {"series": [LOAD1], "index": np.array([0]), "ts": ts, "values": np.ones(1), "run_id": "run-1"}
    said = r"for tenant 'aurora': none of its 1 samples .*host-1/load are outside of the window"
    with pytest.raises(ConstraintViolatedError, match=said):
        samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]  # a dict of arguments
    assert checksum(database)["sample"] == before["sample"]


@pytest.mark.parametrize(("value", "said"), [(np.inf, "infinite"), (-np.inf, "infinite"), (1e101, "beyond 1e100")])
def test_a_window_of_nothing_but_values_that_would_spoil_the_aggregates_stays_as_it_was(
    samples: Store, database: SecretStr, value: float, said: str
) -> None:
    write(samples)
    before = checksum(database)
    with pytest.raises(ConstraintViolatedError, match=f"host-1/load are {said}"):
        write(samples, value=value)
    assert {**checksum(database), "refusal": ""} == {**before, "refusal": ""}
    (refused,) = samples.ledger.refused("aurora", HOUR)
    assert (refused.host, refused.collector, refused.samples, refused.reason) == ("host-1", "load", 60, said)


def test_of_two_values_of_a_series_at_one_time_the_first_stays(samples: Store) -> None:
    ts = np.repeat(axis(HOUR, 3600), 2)
    given = {"series": [LOAD1], "index": np.zeros(2, dtype=np.int64), "ts": ts, "values": np.arange(2.0), "run_id": "r"}
    done = samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]  # a dict of arguments
    assert [(one.reason, one.samples) for one in done.refusals] == [(Reason.DUPLICATE, 1)]
    assert values(samples, HOUR, "load1") == [("load1", [0.0])]


def test_hosts_newest_and_span_are_those_of_the_tenant(samples: Store, delivery_store: DeliveryStore) -> None:
    assert samples.samples.span("aurora") is None
    assert samples.samples.latest("aurora") == {}
    delivery_store.deliver(batch(1, 5))
    delivery_store.deliver(replace(batch(7, 9, series=replace(LOAD1, host="host-2")), agent_id="agent-2"))
    assert samples.samples.span("aurora") == Window(after(10), after(90))
    assert samples.samples.latest("aurora") == {"host-1": after(50), "host-2": after(90)}
    assert samples.samples.hosts("aurora", Window(after(50), after(90))) == ["host-2"]
    assert samples.samples.hosts("aurora", Window(after(40), after(90))) == ["host-1", "host-2"]
    assert samples.samples.span("borealis") is None
