"""What ``collectors agent top`` makes of an agent's words."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from collectors_dagster.cli.top_model import REMEMBERED, TopModel
from collectors_dagster.cli.top_screen import BARS, age, frame, quantity, sparkline
from collectors_dagster.cli.top_source import AgentSource
from collectors_dagster.errors import ConfigurationError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def series(collector: str, metric: str, value: float | None, **labels: str) -> dict[str, Any]:
    kind = "counter" if metric.endswith("_total") else "gauge"
    unit = next((unit for unit in ("bytes", "seconds") if unit in metric), "operations")
    return {"collector": collector, "metric": metric, "labels": labels, "kind": kind, "unit": unit, "value": value}


def tally(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "last_error": None,
        "circuit": "closed",
        "errors": {},
        "interval_seconds": 0.0,
        "last_microseconds": 120,
    }
    return {**known, "last_success": (NOW - timedelta(seconds=3)).isoformat(), **changes}


def state(at: float, *found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    collectors = {each["collector"]: tally() for each in found}
    lanes = {"aurora": {"delivered_until": (NOW - timedelta(seconds=7)).isoformat(), "rows": 1234, "duplicates": 0}}
    known: dict[str, Any] = {
        "pid": 7,
        "host": "web-1",
        "agent_id": "web-1-ab",
        "version": "0.1.0",
        "started_at": NOW.isoformat(),
        "monotonic_seconds": at,
        "taken": dict.fromkeys(collectors, at),
        "process": {"cpu_seconds": at / 100, "rss_bytes": 60e6},
        "health": {"status": "ok", "failing": [], "degraded": []},
        "sampling": {
            "series": len(found),
            "interval_seconds": 1.0,
            "last_sweep_microseconds": 450,
            "overruns": 0,
            "collectors": collectors,
        },
        "delivery": {"tenants": lanes, "refused": {"borealis": "unknown"}, "batches": 5, "failures": 1},
        "spool": {"bytes": 5e6, "segments": 3, "lost_records": 0, "dropped_undelivered_segments": 0, "next_seq": 99},
        "series": list(found),
    }
    return {**known, **changes}


def drawn(model: TopModel, width: int = 120) -> str:
    output = StringIO()
    Console(file=output, width=width).print(frame(model, NOW, width))
    return output.getvalue()


def test_a_counter_is_shown_as_its_rate_summed_over_devices() -> None:
    model = TopModel()
    for at, first, second in ((1.0, 100, 50), (3.0, 300, 60), (4.0, 300, 160)):
        found = [series("disk", "disk_read_bytes_total", first, device="a")]
        found += [series("disk", "disk_read_bytes_total", second, device="b")]
        model.take(state(at, *found))
    assert model.rate("disk_read_bytes_total") == [105, 100]
    (busiest,) = model.busiest(unit="bytes", kind="counter", most=5)
    assert (busiest.labels, busiest.amount, busiest.trend) == ((("device", "b"),), 100, [5, 100])


def test_a_collector_read_seldom_keeps_its_rate_between_readings() -> None:
    model = TopModel()
    for at, taken, value in ((1, 1, 0), (11, 11, 1000), (12, 11, 1000), (13, 11, 1000)):
        found = series("process", "process_cpu_seconds_total", value, process="a")
        model.take(state(at, found, taken={"process": taken}))
    assert model.rate("process_cpu_seconds_total") == [100]
    assert model.busiest(unit="seconds", kind="counter", most=1)[0].amount == 100


def test_a_counter_that_fell_and_a_series_that_came_are_no_negative_and_no_huge_rate() -> None:
    model = TopModel()
    model.take(state(1, series("disk", "disk_reads_total", 900, device="a")))
    found = [series("disk", "disk_reads_total", 5, device="a"), series("disk", "disk_reads_total", 10**9, device="b")]
    model.take(state(2, *found))
    assert model.rate("disk_reads_total") == [0]


def test_another_process_begins_anew() -> None:
    model = TopModel()
    model.take(state(1000, series("disk", "disk_reads_total", 900)))
    model.take(state(2, series("disk", "disk_reads_total", 5), pid=8))
    model.take(state(3, series("disk", "disk_reads_total", 9), pid=8))
    assert model.rate("disk_reads_total") == [4]


def test_the_minute_that_the_agent_remembers_is_shown_at_once() -> None:
    model = TopModel()
    sweeps = [
        {"monotonic_seconds": at, "series": [series("cpu", "cpu_busy_seconds_total", at / 2)]} for at in range(1, 61)
    ]
    model.remember({"sweeps": sweeps})
    model.take(state(61, series("cpu", "cpu_busy_seconds_total", 30.5), series("cpu", "cpu_count", 1)))
    assert model.rate("cpu_busy_seconds_total") == [0.5] * (REMEMBERED - 1)
    assert "50.0%" in drawn(model)


def test_a_frame_shows_collectors_tenants_spool_and_trouble() -> None:
    model = TopModel()
    present = state(5, series("cpu", "cpu_count", 4), series("gpu", "gpu_memory_bytes", None))
    present["sampling"]["collectors"]["gpu"] = tally(
        errors={"SourceUnavailableError": 3}, last_error="away", circuit="open", last_success=None, interval_seconds=5
    )
    present["health"] = {"status": "degraded", "failing": [], "degraded": ["collector gpu: away"]}
    model.take(present)
    text = drawn(model)
    for words in ("web-1", "degraded", "collector gpu: away", "3 s ago", "never", "3 open", "5 s", "1,234", "7 s"):
        assert words in text
    assert "borealis" in text
    assert "refused" in text
    assert "5.0 MB in 3 closed segments" in text


def test_who_takes_the_processors_is_shown_where_processes_are_collected() -> None:
    model = TopModel()
    for at in (1, 2):
        found = [series("process", "process_cpu_seconds_total", at * 0.25, process="postgres")]
        found += [series("process", "process_rss_bytes", 3e8, process="python")]
        model.take(state(at, *found))
    text = drawn(model)
    assert "25% of a core" in text
    assert "300 MB" in text


@given(st.integers(20, 250))
def test_no_frame_is_wider_than_its_terminal(width: int) -> None:
    model = TopModel()
    for at in (1, 2, 3):
        model.take(state(at, series("disk", "disk_read_bytes_total", at * 1e6, device="a-long-name" * 9)))
    assert max(map(len, drawn(model, width).splitlines())) <= width


@given(st.lists(st.floats(0, 1e12), max_size=100), st.integers(1, 60))
def test_a_sparkline_has_a_bar_per_value_and_its_largest_is_full(values: list[float], width: int) -> None:
    line = sparkline(values, width=width)
    assert len(line) == min(width, len(values))
    assert set(line) <= set(BARS)
    shown = values[-width:]
    if shown and max(shown) > 0:
        assert line[shown.index(max(shown))] == BARS[-1]


@given(st.floats(0, 1e14))
def test_a_quantity_fits_its_column(value: float) -> None:
    assert len(quantity(value, "B/s")) <= 13


@pytest.mark.parametrize(("seconds", "words"), [(-1, "0 s"), (99, "99 s"), (600, "10 min"), (7200, "2.0 h")])
def test_an_age_is_told_roughly(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize("url", ["host:19100", "ftp://host", "http://", "no address"])
def test_a_bad_address_is_refused_with_its_option(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url"):
        AgentSource(url)
