"""Samples in bulk: written exactly, read in buckets that agree with slow arithmetic."""

from dataclasses import replace
from datetime import timedelta
from time import perf_counter

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import ConstraintViolatedError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
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
    expected_buckets,
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


def test_buckets_agree_with_slow_arithmetic(samples: Store) -> None:
    data = day_of_samples(series=3, step=10)
    samples.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]
    found = samples.samples.buckets("aurora", DAY, ["metric0", "metric2"], 3600)
    assert [one.series for one in found] == [data["series"][0], data["series"][2]]  # type: ignore[index]
    for one, position in zip(found, (0, 2), strict=True):
        chosen = data["index"] == position
        ts, values = data["ts"][chosen], data["values"][chosen]  # type: ignore[index]
        mean, maximum = expected_buckets(ts, values, one.ts, 3600)
        np.testing.assert_array_equal(one.ts, axis(DAY, 3600))
        np.testing.assert_allclose(one.mean, mean, rtol=1e-12)
        np.testing.assert_array_equal(one.maximum, maximum)


def test_the_last_bucket_ends_with_the_window_whatever_the_clock_says(samples: Store) -> None:
    write(samples, step=10)
    window = Window(after(603), after(1203))
    (found,) = samples.samples.buckets("aurora", window, ["load1"], 60)
    assert found.ts[-1].item() == window.end.replace(tzinfo=None)
    assert len(found.ts) == 10


def test_a_sample_at_the_windows_end_is_in_and_one_at_its_start_is_not(samples: Store) -> None:
    write(samples, Window(NOON - timedelta(seconds=60), after(60)))
    (found,) = samples.samples.buckets("aurora", Window(NOON, after(60)), ["load1"], 10)
    assert [ts.item() for ts in found.ts] == [after(60).replace(tzinfo=None)]


def test_buckets_without_samples_are_absent(samples: Store) -> None:
    write(samples, Window(NOON, after(60)), step=10)
    write(samples, Window(after(120), after(180)), step=10)
    (found,) = samples.samples.buckets("aurora", HOUR, ["load1"], 60)
    assert [ts.item() for ts in found.ts] == [after(s).replace(tzinfo=None) for s in (60, 180)]


def test_buckets_can_be_limited_to_hosts_and_never_cross_tenants(samples: Store) -> None:
    write(samples)
    write(samples, series=replace(LOAD1, host="host-2"))
    found = samples.samples.buckets("aurora", HOUR, ["load1"], 60, hosts=["host-2"])
    assert [one.series.host for one in found] == ["host-2"]
    assert samples.samples.buckets("aurora", HOUR, ["load1"], 60, hosts=[]) == []
    assert samples.samples.buckets("borealis", HOUR, ["load1"], 60) == []


def test_a_window_written_again_is_exactly_the_new_one(samples: Store) -> None:
    write(samples, step=10)
    write(samples, value=2.0, step=60)
    (found,) = samples.samples.buckets("aurora", HOUR, ["load1"], 10)
    assert len(found.ts) == 60
    assert set(found.mean) == {2.0}


def test_writing_a_window_leaves_its_neighbours_and_other_sources(samples: Store) -> None:
    write(samples, Window(after(-3600), NOON))
    write(samples, Window(after(3600), after(7200)))
    write(samples, series=READS)
    write(samples)
    found = samples.samples.buckets("aurora", DAY, ["load1", READS.metric], 60)
    assert [(one.series.metric, len(one.ts)) for one in found] == [(READS.metric, 60), ("load1", 180)]


def test_the_checksum_is_that_of_the_content_not_of_its_order(samples: Store) -> None:
    data = day_of_samples()
    first = samples.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]
    shuffled = np.random.default_rng(1).permutation(len(data["values"]))  # type: ignore[arg-type]
    turned = {name: data[name][shuffled] for name in ("index", "ts", "values")}  # type: ignore[index]
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
            samples.samples.write_window("aurora", "demo", DAY, **first)  # type: ignore[arg-type]
        corrected = {**data, "index": index[kept], "ts": ts[kept], "values": turned[kept]}
        samples.samples.write_window("aurora" if not empty else "borealis", "demo", DAY, **corrected)  # type: ignore[arg-type]
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
    done = samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]
    assert (done.rows, done.refused) == (30, 30)


@pytest.mark.parametrize("seconds", [0, 3601, -10])
def test_a_sample_outside_of_its_window_is_refused(samples: Store, seconds: int, database: SecretStr) -> None:
    before = checksum(database)
    ts = np.array([after(seconds).replace(tzinfo=None)], dtype="datetime64[us]")
    given = {"series": [LOAD1], "index": np.array([0]), "ts": ts, "values": np.ones(1), "run_id": "run-1"}
    said = r"for tenant 'aurora': none of its 1 samples .*host-1/load are outside of the window"
    with pytest.raises(ConstraintViolatedError, match=said):
        samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]
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
    done = samples.samples.write_window("aurora", "demo", HOUR, **given)  # type: ignore[arg-type]
    assert [(one.reason, one.samples) for one in done.refusals] == [(Reason.DUPLICATE, 1)]
    (found,) = samples.samples.buckets("aurora", HOUR, ["load1"], 60)
    assert found.mean.tolist() == [0.0]


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


def test_a_day_of_a_host_is_read_within_a_second(samples: Store) -> None:
    data = day_of_samples(series=40, step=10)
    samples.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]
    metrics = [f"metric{i}" for i in range(40)]
    started = perf_counter()
    found = samples.samples.buckets("aurora", DAY, metrics, 60)
    taken = perf_counter() - started
    assert sum(len(one.ts) for one in found) == 40 * 1440
    assert taken < 1.0, f"a day of 40 series at 10 s took {taken:.2f} s"
