"""What the agent says of itself: to the database with each heartbeat, and to a file for ``collectors status``."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collectors_dagster import __version__
from collectors_dagster.agent.delivery import Delivery
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.spool import Spool
from collectors_dagster.collectors.runner import Runner, Tally
from collectors_dagster.errors import SpoolError

SILENT_SECONDS = 10.0
"""A running agent tells of itself more often than this."""


def status_path(home: Path) -> Path:
    """Return the file in which the agent of this home tells how it is."""
    return home / "run" / "agent.json"


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Publish a status, seen whole or not at all; one that cannot be written is skipped."""
    temporary = path.with_name(f".{path.name}.tmp")
    with suppress(OSError):  # on a full disk sampling goes on; that the file grows old is seen
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(status, indent=1))
        temporary.replace(path)  # not synchronised: after a power cut, nobody asks how the agent was


def read_status(path: Path) -> dict[str, Any]:
    """Return the latest status.

    Raises
    ------
    SpoolError
        If there is none: no agent ever ran with this home.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SpoolError(
            f"no agent has run here: {path} does not exist; start one with `collectors agent run`"
        ) from None
    return content


def identity_status(identity: Identity, started_at: datetime) -> dict[str, Any]:
    """Return what never changes while the agent runs."""
    return {
        "agent_id": identity.agent_id,
        "epoch": identity.epoch,
        "host": identity.host,
        "version": __version__,
        "pid": os.getpid(),
        "started_at": started_at.isoformat(),
    }


def sampling_status(
    sampler: Sampler, runner: Runner, interval_seconds: float, reasons: Mapping[str, str]
) -> dict[str, Any]:
    """Return how sampling is doing, per collector too; `reasons` say why one is read at another interval."""
    progress = sampler.progress
    return {
        "interval_seconds": interval_seconds,
        "sweeps": progress.sweeps,
        "overruns": progress.overruns,
        "clock_events": progress.clock_events,
        "series": progress.series,
        "last_sweep_microseconds": _microseconds(progress.last_seconds),
        "mean_sweep_microseconds": _microseconds(progress.total_seconds / max(1, progress.sweeps)),
        "collectors": {name: _tally_status(tally, reasons.get(name)) for name, tally in runner.tallies.items()},
    }


def spool_status(spool: Spool, now: datetime) -> dict[str, Any]:
    """Return what the spool holds and gave up, and how far back the flight recorder reaches."""
    told = asdict(spool.statistics)
    oldest_ns, from_ns = told.pop("oldest_ns"), told.pop("recorder_from_ns")
    recorder = {
        "from": None if from_ns is None else datetime.fromtimestamp(from_ns / 1e9, UTC).isoformat(),
        "span_seconds": _age(from_ns, now),
        "segments": told.pop("recorder_segments"),
        "bytes": told.pop("recorder_bytes"),
    }
    return {
        "next_seq": spool.next_seq,
        "oldest_age_seconds": _age(oldest_ns, now),
        **told,
        "recorder": recorder,
        **spool.form.as_json(),
    }


def delivery_status(delivery: Delivery) -> dict[str, Any]:
    """Return how delivery is doing, per tenant too."""
    progress, kept = delivery.progress, delivery.quarantine.size()
    return {
        "lag_seconds": delivery.lag_seconds(),
        "turns": progress.turns,
        "batches": progress.batches,
        "failures": progress.failures,
        "last_error": progress.last_error,
        "refused": dict(progress.refused),
        "quarantine": {**asdict(kept), "dropped_batches": delivery.quarantine.dropped_batches},
        "tenants": {
            tenant_id: {**asdict(lane), "delivered_until": _text(lane.delivered_until)}
            for tenant_id, lane in list(progress.tenants.items())  # another thread's
        },
    }


def age_seconds(status: dict[str, Any], now: datetime) -> float:
    """Return how old a status is."""
    return (now - datetime.fromisoformat(status["updated_at"])).total_seconds()


def is_alive(status: dict[str, Any], now: datetime) -> bool:
    """Tell whether the agent that wrote a status still runs."""
    return status["state"] == "running" and age_seconds(status, now) < SILENT_SECONDS


def status_lines(status: dict[str, Any], now: datetime) -> list[str]:
    """Return a status for people."""
    delivery = status["delivery"]
    state = status["state"] if status["state"] == "stopped" or is_alive(status, now) else "silent"
    return [
        f"agent      {status['agent_id']} {status['version']}, {state}, said {age_seconds(status, now):.0f} s ago",
        _sampling_line(status["sampling"]),
        _spool_line(status["spool"]),
        _recorder_line(status["spool"]["recorder"]),
        _delivery_line(delivery),
        *(_tenant_line(name, lane) for name, lane in delivery["tenants"].items()),
        *_incident_lines(status["incidents"]),
        *(f"refused    {name}: {reason}" for name, reason in delivery["refused"].items()),
        *_quarantine_lines(delivery.get("quarantine", {})),
        *_collector_lines(status["sampling"], now),
        *(f"tenants    {problem}" for problem in status["tenant_problems"]),
    ]


def _sampling_line(sampling: dict[str, Any]) -> str:
    cost = f"{sampling['mean_sweep_microseconds']} us a sweep, {sampling['overruns']} missed"
    if sampling.get("clock_events"):  # a status may be older than this version
        cost += f", {sampling['clock_events']} clock steps or sleeps"
    return f"sampling   {sampling['series']} series every {sampling['interval_seconds']:g} s, {cost}"


def _spool_line(spool: dict[str, Any]) -> str:
    given_up = {
        "sweeps lost": spool["lost_records"],
        "segments thinned": spool["thinned_segments"],
        "undelivered sweeps dropped": spool["dropped_records"],
        "segments damaged": spool["damaged_segments"],
    }
    losses = ", ".join(f"{count} {what}" for what, count in given_up.items() if count) or "nothing lost"
    waiting = f"{spool['undelivered_bytes'] / 1e6:.1f} MB of it not delivered"
    return f"spool      {spool['bytes'] / 1e6:.1f} MB in {spool['segments']} closed segments, {waiting}; {losses}"


def _recorder_line(recorder: dict[str, Any]) -> str:
    if recorder["from"] is None:
        return "recorder   nothing yet"
    return f"recorder   every sweep since {recorder['from'][:19]}, {recorder['bytes'] / 1e6:.1f} MB"


def _age(wall_ns: int | None, now: datetime) -> float | None:
    return None if wall_ns is None else round(now.timestamp() - wall_ns / 1e9, 3)


def _delivery_line(delivery: dict[str, Any]) -> str:
    lag, error = delivery["lag_seconds"], delivery["last_error"]
    behind = "nothing delivered yet" if lag is None else f"{lag:.0f} s behind"
    return f"delivery   {behind}; {error}" if error else f"delivery   {behind}"


def _tenant_line(name: str, lane: dict[str, Any]) -> str:
    until = lane["delivered_until"] or "nothing yet"
    refused = f" ({lane['refused_series']} refused: see max_series)" if lane["refused_series"] else ""
    series = f"{lane['series']} series{refused}"
    told = f"{lane['rows']} rows since the start, until {until}, {lane['duplicates']} duplicates"
    backlog = f"; {lane['backlog_records']} older records are being caught up" if lane.get("backlog_records") else ""
    return f"tenant     {name}: {series}, {told}{backlog}"


def _quarantine_lines(kept: dict[str, int]) -> list[str]:
    if not any(kept.values()):
        return []
    size = f"{kept['batches']} refused batches, {kept['bytes'] / 1e3:.1f} kB, {kept['dropped_batches']} dropped"
    return [f"quarantine {size}; see `collectors agent quarantine list`"]


def _incident_lines(incidents: dict[str, Any]) -> list[str]:
    told = f"{incidents['completed']} delivered at full resolution, {len(incidents['due'])} in work"
    error = f"; {incidents['last_error']}" if incidents["last_error"] else ""
    return [f"incidents  {told}{error}"] if incidents["completed"] or incidents["due"] or error else []


def _collector_lines(sampling: dict[str, Any], now: datetime) -> list[str]:
    return [
        _collector_line(name, tally, sampling["interval_seconds"], now)
        for name, tally in sampling["collectors"].items()
    ]


def _collector_line(name: str, tally: dict[str, Any], floor: float, now: datetime) -> str:
    why = f" ({tally['interval_reason']})" if tally.get("interval_reason") else ""
    every = f"every {max(floor, tally['interval_seconds']):g} s{why}"
    succeeded = tally["last_success"]
    read = f"read {(now - datetime.fromisoformat(succeeded)).total_seconds():.0f} s ago" if succeeded else "never read"
    errors = sum(tally["errors"].values())
    failures = [f"{errors} errors"] if errors else []
    circuit = [f"circuit {tally['circuit']}"] if tally["circuit"] != "closed" else []
    refused = [f"{tally['refused_series']} series refused"] if tally["refused_series"] else []
    words = ", ".join([every, f"{tally['last_microseconds']} us", read, *failures, *circuit, *refused])
    return (
        f"collector  {name}: {words}; {tally['last_error']}" if tally["last_error"] else f"collector  {name}: {words}"
    )


def _tally_status(tally: Tally, reason: str | None) -> dict[str, Any]:
    return {
        "readings": tally.readings,
        "points": tally.points,
        "refused_series": tally.refused_series,
        "skipped": tally.skipped,
        "interval_seconds": tally.interval_seconds,
        "interval_reason": reason,
        "circuit": tally.circuit.value,
        "errors": dict(tally.errors),
        "last_error": tally.last_error,
        "last_success": _text(tally.last_success),
        "last_microseconds": _microseconds(tally.last_seconds),
    }


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
