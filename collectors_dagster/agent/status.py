"""What the agent says of itself: to the database with each heartbeat, and to a file for ``collectors status``."""

import json
import os
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
from collectors_dagster.config import Settings
from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import SpoolError


def status_path(settings: Settings) -> Path:
    """Return the file in which the agent of this home tells how it is."""
    return settings.home / "run" / "agent.json"


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Publish a status, seen whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(status, indent=1).encode())


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


def sampling_status(sampler: Sampler, runner: Runner, interval_seconds: float) -> dict[str, Any]:
    """Return how sampling is doing, per collector too."""
    progress = sampler.progress
    return {
        "interval_seconds": interval_seconds,
        "sweeps": progress.sweeps,
        "overruns": progress.overruns,
        "series": progress.series,
        "last_sweep_microseconds": _microseconds(progress.last_seconds),
        "mean_sweep_microseconds": _microseconds(progress.total_seconds / max(1, progress.sweeps)),
        "collectors": {name: _tally_status(tally) for name, tally in runner.tallies.items()},
    }


def spool_status(spool: Spool) -> dict[str, Any]:
    """Return what the spool holds and gave up."""
    return {"next_seq": spool.next_seq, **asdict(spool.statistics)}


def delivery_status(delivery: Delivery) -> dict[str, Any]:
    """Return how delivery is doing, per tenant too."""
    progress = delivery.progress
    return {
        "lag_seconds": delivery.lag_seconds(),
        "batches": progress.batches,
        "failures": progress.failures,
        "last_error": progress.last_error,
        "refused": dict(progress.refused),
        "tenants": {
            tenant_id: {**asdict(lane), "delivered_until": _text(lane.delivered_until)}
            for tenant_id, lane in progress.tenants.items()
        },
    }


def age_seconds(status: dict[str, Any], now: datetime) -> float:
    """Return how old a status is."""
    return (now - datetime.fromisoformat(status["updated_at"]).astimezone(UTC)).total_seconds()


def _tally_status(tally: Tally) -> dict[str, Any]:
    return {
        "readings": tally.readings,
        "points": tally.points,
        "refused_series": tally.refused_series,
        "errors": dict(tally.errors),
        "last_error": tally.last_error,
        "last_success": _text(tally.last_success),
        "last_microseconds": _microseconds(tally.last_seconds),
    }


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
