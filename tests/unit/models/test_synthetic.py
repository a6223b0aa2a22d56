from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors import COLLECTORS
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.features.signals import METRICS, SIGNALS, signals_from_buckets
from collectors_dagster.frames import SeriesRows, SignalFrame
from collectors_dagster.models.anomaly import HostDetector
from collectors_dagster.models.synthetic import SyntheticHistory, synthetic_history
from collectors_dagster.monitoring.incidents import group_incidents
from collectors_dagster.monitoring.truth import compare
from collectors_dagster.records import ScoredMinute
from tests.support.effort import times
from tests.support.histories import cut

END = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
THRESHOLD = 0.9


@pytest.fixture(scope="module")
def history() -> SyntheticHistory:
    return synthetic_history(END, days=14, seed=7)


def signals(history: SyntheticHistory, host: str) -> SignalFrame:
    buckets = [
        SeriesRows(key, history.ts, {"avg": history.values[:, column]})
        for column, key in enumerate(history.series)
        if key.host == host
    ]
    return signals_from_buckets(host, buckets, history.ts)


def hosts(history: SyntheticHistory) -> list[str]:
    return sorted({key.host for key in history.series})


def test_same_arguments_give_the_same_history_and_another_seed_another(history: SyntheticHistory) -> None:
    again, other = synthetic_history(END, days=14, seed=7), synthetic_history(END, days=14, seed=8)
    assert np.array_equal(history.values, again.values)
    assert history.planted == again.planted
    assert not np.array_equal(history.values, other.values)


def test_history_reaches_from_midnight_to_its_end_each_minute(history: SyntheticHistory) -> None:
    assert history.window.start == datetime(2026, 11, 8, tzinfo=UTC)
    assert history.window.end == END
    assert len(history.ts) == 14 * 1440 + 9 * 60
    assert history.ts[-1] == np.datetime64("2026-11-22T09:00:00")
    assert set(np.diff(history.ts)) == {np.timedelta64(60, "s")}


def test_every_signal_is_there_and_physically_possible(history: SyntheticHistory) -> None:
    for host in hosts(history):
        assert host.startswith("synthetic-")
        assert {key.metric for key in history.series if key.host == host} == set(METRICS)
        frame = signals(history, host)
        assert np.isfinite(frame.values).all()
        assert (frame.values >= 0).all()
        ratios = [column for column, name in enumerate(SIGNALS) if name.endswith("_ratio")]
        assert (frame.values[:, ratios] <= 1).all()


def test_series_are_those_that_an_agent_delivers(history: SyntheticHistory) -> None:
    real = {
        (collector.name, metric.delivered_name, metric.delivered_unit, metric.kind)
        for collector in (factory(Host(ManualClock())) for factory in COLLECTORS)
        for metric in collector.metrics
    }
    invented = {(key.collector, key.metric, key.unit, key.kind) for key in history.series}
    assert invented <= real


def test_eight_kinds_of_incidents_are_planted_apart_and_inside(history: SyntheticHistory) -> None:
    assert len({one.kind for one in history.planted}) == len(history.planted) == 8
    for before, after in zip(history.planted, history.planted[1:], strict=False):
        assert before.ended_at + timedelta(hours=3) < after.started_at
    assert all(history.window.start < one.started_at < one.ended_at < END for one in history.planted)
    assert all(set(one.signals) <= set(SIGNALS) for one in history.planted)


def test_days_have_a_rhythm_and_weekends_are_quieter(history: SyntheticHistory) -> None:
    web = signals(history, "synthetic-web-1")
    cpu = web.values[:, SIGNALS.index("cpu_utilization_ratio")]
    hour = (web.ts - web.ts.astype("datetime64[D]")).astype(int) // 3600
    weekend = (web.ts.astype("datetime64[D]").astype(int) + 3) % 7 >= 5
    assert np.median(cpu[hour == 13]) > 3 * np.median(cpu[hour == 2])
    assert np.median(cpu[(hour == 13) & weekend]) < 0.9 * np.median(cpu[(hour == 13) & ~weekend])


@pytest.mark.parametrize("days", [0, 7])
def test_too_few_days_are_refused(days: int) -> None:
    with pytest.raises(ValueError, match="at least 8 days"):
        synthetic_history(END, days=days, seed=1)


def scored(frame: SignalFrame, *, first_day: int, days: int) -> list[ScoredMinute]:
    """Score day after day, each time with what was known the evening before, retrained every other day."""
    minutes: list[ScoredMinute] = []
    detector = HostDetector.untrained(frame.host)
    for day in range(first_day, days + 1):
        start, stop = day * 1440, min((day + 1) * 1440, len(frame.ts))
        past = replace(frame, ts=frame.ts[:start], values=frame.values[:start])
        current = replace(frame, ts=frame.ts[start:stop], values=frame.values[start:stop])
        if (day - first_day) % 2 == 0:
            detector = HostDetector.fit([past], seed=1)
        minutes += detector.score(current, past)
    return minutes


@pytest.mark.parametrize("seed", [7, 2026][: times(1)])
def test_planted_incidents_are_found_and_little_else(seed: int) -> None:
    history = synthetic_history(END, days=14, seed=seed)
    minutes = [minute for host in hosts(history) for minute in scored(signals(history, host), first_day=3, days=14)]
    incidents = group_incidents(minutes, THRESHOLD, tenant_id="showcase")
    result = compare(history.planted, incidents)
    missed = [finding.planted.kind for finding in result.findings if not finding.incidents]
    assert result.found >= 7, missed
    assert len(result.unexplained) <= 2, result.unexplained  # in 23 host-days
    assert sum(finding.named for finding in result.findings) >= 6
    sudden = [one.delay for one in result.findings if one.planted.kind not in {"memory_leak", "disk_full"}]
    assert sum(delay is not None and delay <= timedelta(minutes=3) for delay in sudden) >= 5


def scored_afterwards(frame: SignalFrame) -> list[list[ScoredMinute]]:
    """Train on the whole history and score its days, as the first run of the pipeline does."""
    detector = HostDetector.fit([frame], seed=1)
    cuts = [
        (cut(frame, max(start - 7 * 1440, 0), start), cut(frame, start, start + 1440))
        for start in range(0, len(frame.ts), 1440)
    ]
    return [detector.score(current, past) for past, current in cuts]


@pytest.mark.parametrize(("day", "hour"), [(23, 22), (19, 0), (21, 18)][: times(1)])
def test_a_first_model_finds_what_is_planted_in_its_own_history_at_any_hour(day: int, hour: int) -> None:
    history = synthetic_history(datetime(2026, 11, day, hour, 30, tzinfo=UTC), days=14, seed=hour)
    days = [minutes for host in hosts(history) for minutes in scored_afterwards(signals(history, host))]
    incidents = [one for minutes in days for one in group_incidents(minutes, THRESHOLD, tenant_id="showcase")]
    result = compare(history.planted, incidents)
    assert result.found >= 7, [finding.planted.kind for finding in result.findings if not finding.incidents]
    assert len(result.unexplained) <= 3, result.unexplained  # the first days know no time of day
