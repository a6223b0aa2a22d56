"""What the agent says of itself, for people."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors_dagster.agent.status import SILENT_SECONDS, is_alive, read_status, status_lines, write_status
from collectors_dagster.errors import SpoolError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


SPOOL = {
    "bytes": 2_000_000,
    "segments": 3,
    "undelivered_bytes": 100_000,
    "lost_records": 0,
    "thinned_segments": 0,
    "dropped_records": 0,
    "damaged_segments": 0,
    "recorder": {"from": "2025-12-31T00:00:00+00:00", "span_seconds": 86400.0, "segments": 3, "bytes": 1_900_000},
}


def status(**changes: Any) -> dict[str, Any]:
    tally: dict[str, Any] = {
        "last_error": None,
        "interval_seconds": 5.0,
        "last_success": (NOW - timedelta(seconds=4)).isoformat(),
        "last_microseconds": 120,
        "errors": {},
        "circuit": "closed",
        "refused_series": 0,
    }
    calm = {**tally, "interval_reason": "calm"}
    failing = {**tally, "last_error": "cannot be read", "errors": {"CollectionError": 12}, "circuit": "open"}
    return {
        "agent_id": "host-1234",
        "version": "0.1.0",
        "state": "running",
        "updated_at": (NOW - timedelta(seconds=2)).isoformat(),
        "sampling": {
            "series": 78,
            "interval_seconds": 1.0,
            "mean_sweep_microseconds": 150,
            "overruns": 0,
            "collectors": {"cpu": tally, "load": calm, "pressure": failing},
        },
        "spool": SPOOL,
        "delivery": {
            "lag_seconds": 7.4,
            "last_error": None,
            "tenants": {
                "aurora": {
                    "series": 30,
                    "refused_series": 2,
                    "rows": 5,
                    "delivered_until": "2026-01-01T00:00:00+00:00",
                    "duplicates": 0,
                }
            },
            "refused": {"borealis": "not in the database"},
        },
        "incidents": {"due": [7], "completed": 2, "values": 300, "last_error": None},
        "tenant_problems": ["tenants/x.yml: line 3: bad"],
        **changes,
    }


def test_a_running_agent_is_shown_with_its_lag_its_tenants_and_every_problem() -> None:
    text = "\n".join(status_lines(status(), NOW))
    for words in (
        "running",
        "7 s behind",
        "78 series every 1 s",
        "aurora: 30 series (2 refused: see max_series), 5 rows",
        "borealis: not in the database",
    ):
        assert words in text
    assert "cpu: every 5 s, 120 us, read 4 s ago\n" in text
    assert "load: every 5 s (calm), 120 us, read 4 s ago\n" in text
    assert "pressure: every 5 s, 120 us, read 4 s ago, 12 errors, circuit open; cannot be read" in text
    assert "line 3: bad" in text


def test_what_the_spool_gave_up_is_shown_and_only_that() -> None:
    assert "0.1 MB of it not delivered; nothing lost" in "\n".join(status_lines(status(), NOW))
    assert "every sweep since 2025-12-31T00:00:00, 1.9 MB" in "\n".join(status_lines(status(), NOW))
    assert "2 delivered at full resolution, 1 in work" in "\n".join(status_lines(status(), NOW))
    worse = {**SPOOL, "lost_records": 7, "thinned_segments": 2, "damaged_segments": 1}
    text = "\n".join(status_lines(status(spool=worse), NOW))
    assert "7 sweeps lost, 2 segments thinned, 1 segments damaged" in text


def test_an_agent_that_says_nothing_is_not_alive() -> None:
    later = NOW + timedelta(seconds=SILENT_SECONDS)
    assert is_alive(status(), NOW)
    assert not is_alive(status(), later)
    assert "silent" in status_lines(status(), later)[0]


def test_a_stopped_agent_is_shown_as_stopped() -> None:
    assert not is_alive(status(state="stopped"), NOW)
    assert "stopped" in status_lines(status(state="stopped"), NOW)[0]


def test_a_delivery_that_fails_is_shown_with_its_reason() -> None:
    delivery = {**status()["delivery"], "lag_seconds": None, "last_error": "connection refused"}
    assert "delivery   nothing delivered yet; connection refused" in status_lines(status(delivery=delivery), NOW)


def test_a_backlog_a_quarantine_and_clock_events_are_shown() -> None:
    lane = {**status()["delivery"]["tenants"]["aurora"], "backlog_records": 3600}
    kept = {"batches": 2, "bytes": 12_345, "dropped_batches": 1}
    delivery = {**status()["delivery"], "tenants": {"aurora": lane}, "quarantine": kept}
    shown = status(delivery=delivery, sampling={**status()["sampling"], "clock_events": 3})
    text = "\n".join(status_lines(shown, NOW))
    assert "aurora: 30 series (2 refused: see max_series), 5 rows" in text
    assert "3600 older records are being caught up" in text
    assert "quarantine 2 refused batches, 12.3 kB, 1 dropped; see `collectors agent quarantine list`" in text
    assert "3 clock steps or sleeps" in text


def test_a_status_is_read_back(tmp_path: Path) -> None:
    write_status(tmp_path / "run" / "agent.json", status())
    assert read_status(tmp_path / "run" / "agent.json") == status()


def test_without_a_status_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="collectors agent run"):
        read_status(tmp_path / "agent.json")


def test_a_status_that_cannot_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    write_status(tmp_path / "run" / "agent.json", status())
    assert (tmp_path / "run").read_text() == "in the way"
