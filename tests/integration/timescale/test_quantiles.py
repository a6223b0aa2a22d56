"""Quantiles of hours and days: each within 1 % of the value that sorting gives, whatever the values are."""

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import SeriesRows
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.reading import Resolution, Selection
from collectors_dagster.records import Window
from tests.support.effort import times
from tests.support.sql_tenants import login_url
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, READS, day_of_samples

pytestmark = pytest.mark.every_edition

HOUR = timedelta(hours=1)
WIDE = Window(DAY.start - timedelta(days=1), DAY.end + timedelta(days=1))
METRICS = ("load1",)
SHARES = {"p50": (50, 100), "p95": (95, 100), "p99": (99, 100)}
NOTHING = 1e-100
"""What is smaller counts as zero."""


@pytest.fixture
def tenants(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


def write(store: Store, window: Window, values: Sequence[float]) -> None:
    """Make a window of one series hold these values, evenly."""
    step = np.timedelta64(window.end - window.start) // (len(values) + 1)
    ts = np.datetime64(window.start.replace(tzinfo=None), "us") + step * np.arange(1, len(values) + 1)
    index = np.zeros(len(values), dtype=np.int64)
    store.samples.write_window(
        "aurora", "demo", window, series=[LOAD1], index=index, ts=ts, values=np.array(values), run_id="run-1"
    )


def exact(values: Sequence[float], part: int, whole: int) -> float:
    """Return the least of the values that so many of them do not exceed."""
    return sorted(values)[math.ceil(part * len(values) / whole) - 1]


def quantiles(store: Store, resolution: Resolution, window: Window = WIDE) -> list[SeriesRows]:
    return store.reader.read(Selection("aurora", window, resolution, quantiles=True))


def assert_near(found: SeriesRows, row: int, values: Sequence[float]) -> None:
    assert found.numbers["count"][row] == len(values)
    for name, (part, whole) in SHARES.items():
        expected = exact(values, part, whole)
        error = abs(float(found.numbers[name][row]) - expected)
        assert error <= 0.01 * abs(expected) * (1 + 1e-9) + NOTHING, (name, expected)


@settings(max_examples=times(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.floats(-1e100, 1e100), st.floats(-100, 100), st.sampled_from([0.0, 1.0, 1e100, -1e100, 1e-99])),
        min_size=1,
        max_size=120,
    )
)
@example([1e100])
@example([-1e100, 1e100])
@example([0.0, -0.0, 1e-300])
@example([1e-100, -1e-100])
@example([1.01 / 0.99] * 3)
def test_quantiles_of_an_hour_and_of_its_day_are_within_a_hundredth(tenants: Store, values: list[float]) -> None:
    window = Window(DAY.start, DAY.start + HOUR)
    write(tenants, window, values)
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-1", METRICS)
    for resolution in (Resolution.HOUR, Resolution.DAY):
        (found,) = quantiles(tenants, resolution)
        assert_near(found, 0, values)


def test_a_days_quantiles_are_those_of_all_its_samples_and_not_of_its_hours(tenants: Store) -> None:
    random = np.random.default_rng(3)
    hours = [np.exp(random.normal(hour / 4, 1, 360)).tolist() for hour in range(24)]
    for n, values in enumerate(hours):
        write(tenants, Window(DAY.start + n * HOUR, DAY.start + (n + 1) * HOUR), values)
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-1", METRICS)
    (found,) = quantiles(tenants, Resolution.HOUR)
    for n, values in enumerate(hours):
        assert_near(found, n, values)
    (found,) = quantiles(tenants, Resolution.DAY)
    assert_near(found, 0, [value for values in hours for value in values])


def test_quantiles_follow_the_samples_when_hours_are_computed_again(tenants: Store) -> None:
    window = Window(DAY.start, DAY.start + HOUR)
    write(tenants, window, [1.0] * 60)
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    write(tenants, window, [2.0] * 30)
    tenants.rollups.hourly("aurora", window, "run-2", METRICS)
    (found,) = quantiles(tenants, Resolution.HOUR)
    assert_near(found, 0, [2.0] * 30)


def test_only_chosen_metrics_have_quantiles_and_one_that_is_chosen_no_more_loses_them(tenants: Store) -> None:
    tenants.samples.write_window("aurora", "other", DAY, **day_of_samples())  # type: ignore[arg-type]  # **: no types per name
    write(tenants, Window(DAY.start, DAY.start + HOUR), [1.0] * 60)
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-1", METRICS)
    for resolution in (Resolution.HOUR, Resolution.DAY):
        assert [one.series for one in quantiles(tenants, resolution)] == [LOAD1]
    tenants.rollups.hourly("aurora", DAY, "run-2", (READS.metric,))
    assert quantiles(tenants, Resolution.HOUR) == []


def test_hours_whose_samples_are_gone_keep_their_quantiles(tenants: Store) -> None:
    write(tenants, Window(DAY.start, DAY.start + HOUR), [1.0] * 60)
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-1", METRICS)
    tenants.retention.apply("aurora", 1, 400, DAY.end + timedelta(days=30))
    tenants.rollups.hourly("aurora", DAY, "run-2", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-2", METRICS)
    for resolution in (Resolution.HOUR, Resolution.DAY):
        (found,) = quantiles(tenants, resolution)
        assert_near(found, 0, [1.0] * 60)


@pytest.mark.parametrize("resolution", [Resolution.RAW, Resolution.MINUTE])
def test_quantiles_of_what_is_not_binned_are_refused(tenants: Store, resolution: Resolution) -> None:
    with pytest.raises(ConfigurationError, match=f"quantiles are known of 1h and 1d, not of {resolution}"):
        quantiles(tenants, resolution)


def test_a_tenant_reads_by_sql_what_the_reader_reads(tenants: Store, database: SecretStr) -> None:
    write(tenants, DAY, list(np.random.default_rng(4).normal(50, 20, 1440)))
    tenants.rollups.hourly("aurora", DAY, "run-1", METRICS)
    tenants.rollups.daily("aurora", DAY, "run-1", METRICS)
    login = tenants.sql_roles.grant("aurora")
    assert login.password is not None
    try:
        url = login_url(database, login.role, login.password.get_secret_value()).get_secret_value()
        with psycopg.connect(url) as tenant:
            for view, resolution in (("hourly", Resolution.HOUR), ("daily", Resolution.DAY)):
                asked = f"select p50, p95, p99, sample_count from metrics_{view}_quantiles order by bucket"
                (found,) = quantiles(tenants, resolution)
                columns = [found.numbers[name].tolist() for name in ("p50", "p95", "p99", "count")]
                assert tenant.execute(asked.encode()).fetchall() == list(zip(*columns, strict=True))
    finally:
        tenants.sql_roles.revoke("aurora", login.role)
