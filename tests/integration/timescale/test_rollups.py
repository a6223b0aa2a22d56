"""Hourly and daily aggregates equal what a GROUP BY over the raw rows says."""

from math import fsum

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.rollups import RollupResult
from collectors_dagster.records import Window
from tests.support.effort import times
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, READS, after, checksum, day_of_samples

pytestmark = pytest.mark.every_edition

RAW = """
    select series_id, date_trunc(%s, ts), array_agg(value order by ts)
    from core.sample where ts >= '2026-01-05 00:00+00' and ts < '2026-01-06 00:00+00'
    group by 1, 2 order by 1, 2
"""
# The full edition adds up what is newer than the refreshed window whenever it is asked: that is left out here.
TABLES = {
    "hour": b"select series_id, bucket, n, sum, min, max, sumsq, last from core.sample_1h "
    b"where bucket < '2026-01-06 00:00+00' order by 1, 2",
    "day": b"select series_id, bucket, n, sum, min, max, sumsq, last from core.sample_1d "
    b"where bucket < '2026-01-06 00:00+00' order by 1, 2",
}
VALUES = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1e-300, -0.0, 0.1, 1e99])
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 86_399), VALUES),
    min_size=1,
    max_size=60,
    unique_by=lambda row: (row[0], row[1]),
)


@pytest.fixture
def filled(store: Store) -> Store:
    """Return a store with a day of samples of one tenant."""
    store.tenants.sync([AURORA, BOREALIS])
    store.samples.write_window("aurora", "demo", DAY, **day_of_samples())  # type: ignore[arg-type]
    return store


def rolled_up(database: SecretStr) -> list[list[tuple[object, ...]]]:
    """Return the hours and days of 5 January."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return [connection.execute(statement).fetchall() for statement in TABLES.values()]


def assert_exact(database: SecretStr, unit: str) -> None:
    with psycopg.connect(database.get_secret_value()) as connection:
        raw = connection.execute(RAW, [unit]).fetchall()
        rolled = connection.execute(TABLES[unit]).fetchall()
    assert [row[:2] for row in rolled] == [row[:2] for row in raw]
    for (_, _, n, total, lowest, highest, squares, last), (_, _, values) in zip(rolled, raw, strict=True):
        assert (n, lowest, highest, last) == (len(values), min(values), max(values), values[-1])
        assert total == pytest.approx(fsum(values), rel=0, abs=1e-12 * fsum(map(abs, values)))
        assert squares == pytest.approx(fsum(value * value for value in values), rel=1e-12, abs=1e-290)


@settings(max_examples=times(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_aggregates_equal_a_group_by_over_the_raw_rows(
    rows: list[tuple[int, int, float]], store: Store, database: SecretStr
) -> None:
    store.tenants.sync([AURORA])
    store.samples.write_window(
        "aurora",
        "demo",
        Window(DAY.start, after(86_400)),
        series=[LOAD1, READS],
        index=np.array([row[0] for row in rows]),
        ts=np.datetime64("2026-01-05", "s") + np.array([row[1] for row in rows]).astype("timedelta64[s]"),
        values=np.array([row[2] for row in rows]),
        run_id="run-1",
    )
    hourly = store.rollups.hourly("aurora", DAY, "run-1")
    daily = store.rollups.daily("aurora", DAY, "run-1")
    assert hourly.raw_rows == daily.raw_rows == len(rows)
    assert_exact(database, "hour")
    assert_exact(database, "day")


def test_the_same_samples_give_the_same_bits_however_they_lie_on_disk(
    filled: Store, database: SecretStr, edition: Edition
) -> None:
    filled.rollups.hourly("aurora", DAY, "run-1")
    once = rolled_up(database)
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(
            "with moved as (delete from core.sample returning *) "
            "insert into core.sample select * from moved order by md5(ts::text)"
        )
    filled.rollups.hourly("aurora", DAY, "run-1")
    if edition is Edition.FULL:  # there the server decides in which order it adds
        assert_exact(database, "hour")
    else:
        assert rolled_up(database) == once


def test_counts_are_those_of_the_window_widened_to_whole_buckets(filled: Store) -> None:
    assert filled.rollups.hourly("aurora", DAY, "run-1") == RollupResult(rows=48, series=2, raw_rows=286)
    part = Window(after(600), after(700))
    assert filled.rollups.hourly("aurora", part, "run-1") == RollupResult(rows=2, series=2, raw_rows=12)
    assert filled.rollups.daily("aurora", part, "run-1") == RollupResult(rows=2, series=2, raw_rows=286)


def test_hours_whose_samples_are_gone_go_too(filled: Store, database: SecretStr) -> None:
    filled.rollups.hourly("aurora", DAY, "run-1")
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("delete from core.sample where ts < '2026-01-05 06:00+00'")
    assert filled.rollups.hourly("aurora", DAY, "run-1").rows == 36


def test_a_late_sample_is_in_after_the_next_run(filled: Store, database: SecretStr) -> None:
    filled.rollups.hourly("aurora", DAY, "run-1")
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(
            "insert into core.sample select tenant_key, series_id, '2026-01-05 03:03:03+00', 12345 "
            "from core.series order by series_id limit 1"
        )
    filled.rollups.hourly("aurora", DAY, "run-2")
    assert_exact(database, "hour")


def test_what_retention_took_from_the_raw_rows_stays_in_the_aggregates(filled: Store, database: SecretStr) -> None:
    filled.rollups.hourly("aurora", DAY, "run-1")
    filled.rollups.daily("aurora", DAY, "run-1")
    once = rolled_up(database)
    filled.retention.apply("aurora", 1, 400, after(86_400 * 3))
    assert filled.rollups.hourly("aurora", DAY, "run-1").rows == 0
    assert filled.rollups.daily("aurora", DAY, "run-1").raw_rows == 286
    assert checksum(database)["sample"].startswith("0:")
    assert rolled_up(database) == once


def test_a_run_is_on_the_books(filled: Store) -> None:
    filled.rollups.hourly("aurora", DAY, "run-9")
    (entry,) = filled.ledger.entries("aurora", "metrics_hourly", DAY)
    assert (entry.run_id, entry.rows, entry.window) == ("run-9", 48, DAY)
    assert entry.detail == {"series": 2, "raw_rows": 286}
