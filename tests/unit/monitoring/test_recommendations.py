"""Advice claims something that the following days confirm or refute, and a saving only where prices are known."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.monitoring.recommendations import Advising, came_true, recommendations, saving_text
from collectors_dagster.records import Claim, ForecastPoint, Recommendation, Statistic
from tests.support.histories import instant, quiet_host

DAY = 1440
CPU = SIGNALS.index("cpu_utilization_ratio")
DISK = SIGNALS.index("filesystem_used_ratio")


def advised(frame: SignalFrame, advising: Advising | None = None, *points: ForecastPoint) -> dict[str, Recommendation]:
    found = recommendations(frame, points, instant(frame), advising or Advising())
    return {one.kind: one for one in found}


def week_after(frame: SignalFrame, minutes: int = 7 * DAY) -> SignalFrame:
    return quiet_host(minutes, first=len(frame.ts))


def claim_of(advice: Recommendation) -> Claim:
    assert advice.claim is not None
    return advice.claim


def test_a_saving_needs_a_price_a_size_and_something_to_save() -> None:
    idle = quiet_host(2 * DAY)
    assert advised(idle)["downsize"].saving_per_month is None
    assert advised(idle, Advising(cpu_month=20.0, currency="EUR"))["downsize"].saving_per_month is None
    assert advised(idle, Advising(cpu_month=20.0, currency="EUR", cpus=1.0))["downsize"].saving_per_month is None
    advice = advised(idle, Advising(cpu_month=20.0, currency="EUR", cpus=8.0))["downsize"]
    busy = np.quantile(idle.values[:, CPU], 0.95)
    needed = math.ceil(busy * 8 / 0.6)
    assert advice.saving_per_month == (8 - needed) * 20.0
    assert f"{needed} of 8 would do" in advice.evidence
    assert saving_text(advice) == f"saves about {(8 - needed) * 20} EUR a month"
    assert saving_text(advised(idle)["downsize"]) == ""


def test_an_idle_host_confirms_or_refutes_the_advice_in_the_week_after() -> None:
    claim = claim_of(advised(quiet_host(2 * DAY))["downsize"])
    frame = quiet_host(2 * DAY)
    after = week_after(frame)
    assert claim.end - claim.start == timedelta(days=7)
    assert came_true(claim, after) is True
    after.values[::10, CPU] = 0.9  # a tenth of the minutes is busy now
    assert came_true(claim, after) is False


def test_too_little_measured_tells_nothing() -> None:
    frame = quiet_host(2 * DAY)
    claim = claim_of(advised(frame)["downsize"])
    assert came_true(claim, frame) is None  # nothing of the week has come
    assert came_true(claim, week_after(frame, 3 * DAY)) is None
    after = week_after(frame)
    after.values[: 4 * DAY, CPU] = np.nan
    assert came_true(claim, after) is None


def test_a_disk_that_fills_as_said_confirms_it_and_one_that_was_cleaned_does_not() -> None:
    frame = quiet_host(3 * DAY)
    random = np.random.default_rng(0)
    frame.values[:, DISK] = 0.70 + 0.02 * np.arange(3 * DAY) / DAY + 0.001 * random.standard_normal(3 * DAY)
    claim = claim_of(advised(frame)["disk-full"])
    after = week_after(frame)
    after.values[:, DISK] = 0.76 + 0.02 * np.arange(7 * DAY) / DAY
    assert came_true(claim, after) is True
    after.values[3 * DAY :, DISK] = 0.4
    assert came_true(claim, after) is False


@pytest.mark.parametrize(("level", "expected"), [(0.85, True), (0.5, False)])
def test_a_peak_comes_or_does_not(level: float, *, expected: bool) -> None:
    frame = quiet_host(DAY)
    frame.values[:, CPU] = 0.5
    at = instant(frame) + timedelta(hours=5)
    point = ForecastPoint("quiet-1", "cpu_utilization_ratio", instant(frame), at, 0.9, 0.85, 0.95, 0.8, 0.99)
    claim = claim_of(advised(frame, None, point)["peak"])
    assert (claim.start, claim.end) == (at - timedelta(hours=1), at + timedelta(hours=1))
    after = week_after(frame, DAY)
    after.values[5 * 60 + 20 : 5 * 60 + 30, CPU] = level
    assert came_true(claim, after) is expected


def test_a_claim_of_a_signal_that_is_not_there_cannot_be_told() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    claim = Claim("no_such_signal", Statistic.P95, 0.0, 1.0, now, now + timedelta(days=1))
    assert came_true(claim, quiet_host(10)) is None
