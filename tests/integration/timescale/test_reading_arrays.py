"""A window as arrays: named by the start or by the end of its buckets, the same numbers as slow arithmetic."""

from dataclasses import replace
from datetime import timedelta
from time import process_time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import SeriesRows
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.reading import Edge, Resolution, Selection, SeriesReader
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey
from tests.support.effort import times
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, NOON, after, axis, day_of_samples, expected_minutes

pytestmark = pytest.mark.every_edition

HOUR = Window(NOON, after(3600))
LOADS = Selection("aurora", HOUR, Resolution.MINUTE, ["load1"], edge=Edge.END)


@pytest.fixture
def tenants(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


def write(store: Store, window: Window = HOUR, series: SeriesKey = LOAD1, step: int = 10) -> None:
    """Write one series whose value is the number of the sample in the window."""
    ts = axis(window, step)
    index = np.zeros(len(ts), dtype=np.int64)
    values = np.arange(len(ts), dtype=np.float64)
    store.samples.write_window(
        "aurora", "demo", window, series=[series], index=index, ts=ts, values=values, run_id="run-1"
    )


def names(one: SeriesRows) -> list[object]:
    return list(one.ts.tolist())


def at(*seconds: float) -> list[object]:
    return [after(each).replace(tzinfo=None) for each in seconds]


def test_minutes_that_are_named_by_their_end_agree_with_slow_arithmetic(tenants: Store) -> None:
    data = day_of_samples(series=3, step=10)
    tenants.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]  # **: no types per name
    wanted = Selection("aurora", DAY, Resolution.MINUTE, ["metric0", "metric2"], edge=Edge.END)
    found = tenants.reader.read(wanted)
    assert [one.series for one in found] == [data["series"][0], data["series"][2]]  # type: ignore[index]  # a dict of arguments
    for one, position in zip(found, (0, 2), strict=True):
        chosen = data["index"] == position
        ts, values = data["ts"][chosen], data["values"][chosen]  # type: ignore[index]  # a dict of arguments
        np.testing.assert_array_equal(one.ts, axis(DAY, 60))
        expected = expected_minutes(ts, values, axis(DAY, 60))
        assert one.numbers["avg"].tolist() == pytest.approx(expected.pop("avg").tolist(), rel=1e-12)
        for name, column in expected.items():
            np.testing.assert_array_equal(one.numbers[name], column)


def test_the_last_minute_ends_with_the_window_whatever_the_clock_says(tenants: Store) -> None:
    write(tenants)
    (found,) = tenants.reader.read(replace(LOADS, window=Window(after(603), after(1203))))
    assert names(found) == at(*range(663, 1204, 60))


def test_a_sample_at_the_edge_belongs_to_one_of_two_neighbouring_windows(tenants: Store) -> None:
    write(tenants, Window(after(-60), after(60)), step=60)
    named_by_end = replace(LOADS, window=Window(NOON, after(60)))
    (found,) = tenants.reader.read(replace(named_by_end, resolution=Resolution.RAW))
    assert names(found) == at(60)
    (found,) = tenants.reader.read(named_by_end)
    assert names(found) == at(60)
    for resolution in (Resolution.RAW, Resolution.MINUTE):
        (found,) = tenants.reader.read(replace(named_by_end, resolution=resolution, edge=Edge.START))
        assert names(found) == at(0)


def test_minutes_without_samples_are_absent(tenants: Store) -> None:
    write(tenants, Window(NOON, after(60)))
    write(tenants, Window(after(120), after(180)))
    (found,) = tenants.reader.read(LOADS)
    assert names(found) == at(60, 180)


def test_arrays_can_be_limited_to_hosts_and_never_cross_tenants(tenants: Store) -> None:
    write(tenants)
    write(tenants, series=replace(LOAD1, host="host-2"))
    assert [one.series.host for one in tenants.reader.read(LOADS)] == ["host-1", "host-2"]
    assert [one.series.host for one in tenants.reader.read(replace(LOADS, hosts=["host-2"]))] == ["host-2"]
    assert tenants.reader.read(replace(LOADS, hosts=[])) == []
    assert tenants.reader.read(replace(LOADS, tenant_id="borealis")) == []


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.DAY])
def test_what_is_stored_by_its_start_cannot_be_asked_for_by_its_end(tenants: Store, resolution: Resolution) -> None:
    with pytest.raises(ConfigurationError, match=f"buckets of {resolution} are stored by their start"):
        tenants.reader.read(Selection("aurora", DAY, resolution, edge=Edge.END))


def test_minutes_by_their_end_are_whole(tenants: Store) -> None:
    with pytest.raises(ConfigurationError, match="cuts a bucket of 1m"):
        tenants.reader.read(replace(LOADS, window=Window(after(1), after(90))))


THREE_DAYS = Window(DAY.start, DAY.end + timedelta(days=2))
ONE_STATEMENT = Window(DAY.start + timedelta(hours=12), DAY.end + timedelta(hours=12))
Lines = dict[str, list[tuple[object, ...]]]


@pytest.mark.parametrize("metrics", [None, ["metric1", "metric3"]])
@pytest.mark.parametrize(
    ("resolution", "edge", "window"),
    [
        *((one, Edge.START, THREE_DAYS) for one in Resolution),
        *(
            (one, edge, window)
            for one in (Resolution.RAW, Resolution.MINUTE)
            for edge, window in ((Edge.END, THREE_DAYS), (Edge.START, ONE_STATEMENT), (Edge.END, ONE_STATEMENT))
        ),
    ],
)
def test_arrays_hold_the_rows_of_the_blocks_series_by_series(
    tenants: Store, resolution: Resolution, edge: Edge, window: Window, metrics: list[str] | None
) -> None:
    for day in ("2026-01-05", "2026-01-06"):
        loaded = Window.of_day(day)
        tenants.samples.write_window("aurora", "demo", loaded, **day_of_samples(loaded, series=4))  # type: ignore[arg-type]  # **: no types per name
    tenants.rollups.hourly("aurora", THREE_DAYS, "run-1")
    tenants.rollups.daily("aurora", THREE_DAYS, "run-1")
    wanted = Selection("aurora", window, resolution, metrics, edge=edge)
    found = {one.series.metric: lines(one, resolution) for one in tenants.reader.read(wanted)}
    assert len(found) == len(metrics or range(4))
    assert found == streamed(tenants, wanted)


def lines(one: SeriesRows, resolution: Resolution) -> list[tuple[object, ...]]:
    return list(zip(names(one), *(one.numbers[name].tolist() for name in resolution.columns), strict=True))


def streamed(store: Store, wanted: Selection) -> Lines:
    """Return the rows of all blocks by metric."""
    found: Lines = {}
    with store.reader.open(wanted) as reading:
        for block in reading.blocks:
            columns = [block.numbers[name].tolist() for name in wanted.resolution.columns]
            for series_id, *row in zip(block.series_id.tolist(), block.ts.tolist(), *columns, strict=True):
                found.setdefault(reading.series[series_id].metric, []).append(tuple(row))
    return found


def test_a_series_that_came_since_the_last_reading_is_read_with_its_name(tenants: Store) -> None:
    write(tenants)
    assert [one.series for one in tenants.reader.read(LOADS)] == [LOAD1]
    second = replace(LOAD1, host="host-2")
    write(tenants, series=second)
    assert [one.series for one in tenants.reader.read(LOADS)] == [LOAD1, second]


def test_a_reader_that_remembers_one_name_reads_them_all(tenants: Store, database: SecretStr) -> None:
    hosts = [replace(LOAD1, host=f"host-{n}") for n in range(3)]
    for series in hosts:
        write(tenants, series=series)
    connections = Database(database, application_name="tests", max_connections=1)
    reader = SeriesReader(connections, TenantTable(connections), most_named=1)
    try:
        for chosen in (hosts, hosts[:1], hosts[1:2], hosts):
            wanted = replace(LOADS, hosts=[one.host for one in chosen])
            assert [one.series for one in reader.read(wanted)] == chosen
    finally:
        connections.close()


@settings(max_examples=times(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(-90, 4000), minutes=st.integers(1, 90), cut=st.integers(1, 89))
def test_minutes_by_their_end_are_the_same_in_whatever_windows_they_are_read(
    tenants: Store, start: int, minutes: int, cut: int
) -> None:
    if not tenants.reader.read(LOADS):
        write(tenants)
    window = Window(after(start), after(start + 60 * minutes))
    middle = after(start + 60 * min(cut, minutes - 1))
    parts = [part for part in (Window(window.start, middle), Window(middle, window.end)) if part.start < part.end]

    def found(one: Window) -> list[tuple[object, ...]]:
        rows = tenants.reader.read(replace(LOADS, window=one))
        return [row for each in rows for row in zip(names(each), each.numbers["avg"].tolist(), strict=True)]

    assert [row for part in parts for row in found(part)] == found(window)


def test_a_day_of_a_host_costs_hardly_any_time_of_our_own(tenants: Store) -> None:
    data = day_of_samples(series=40, step=10)
    tenants.samples.write_window("aurora", "demo", DAY, **data)  # type: ignore[arg-type]  # **: no types per name
    started = process_time()
    found = tenants.reader.read(Selection("aurora", DAY, Resolution.MINUTE, edge=Edge.END))
    taken = process_time() - started
    assert sum(len(one.ts) for one in found) == 40 * 1440
    assert taken < 0.3, f"a day of 40 series at 10 s took {taken:.2f} s of our own"
