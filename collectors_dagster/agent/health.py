"""Whether the agent does its work: the answer for a supervisor, an orchestrator or a load balancer. Pure.

Failing means that samples are being lost now: a restart or a person is needed. Degraded means that something is
wrong but nothing is lost: while the database is away, samples wait in the spool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LATE_INTERVALS = 3.0
LATE_SECONDS = 2.0
"""Sampling is late when the last sweep is older than three intervals and this."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the judgement rests on.

    Attributes
    ----------
    since_sweep_seconds : float
        Since the last sweep; before the first, since the start.
    spool_error : str or None
        Why the newest sweep was not written.
    delivery_error : str or None
        Why the database cannot be reached.
    refused : mapping
        By tenant, why the database does not take its samples.
    failing_collectors : mapping
        By collector, its present error.
    problems : sequence of str
        What is wrong with settings and tenant files.
    """

    since_sweep_seconds: float
    interval_seconds: float
    spool_error: str | None = None
    delivery_error: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    failing_collectors: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """The judgement.

    Attributes
    ----------
    failing : tuple of str
        Why samples are being lost.
    degraded : tuple of str
        What is wrong besides.
    """

    failing: tuple[str, ...]
    degraded: tuple[str, ...]

    @property
    def status(self) -> str:
        """One of ``ok``, ``degraded``, ``failing``."""
        return "failing" if self.failing else "degraded" if self.degraded else "ok"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"status": self.status, "failing": list(self.failing), "degraded": list(self.degraded)}


def judge(signals: Signals) -> Health:
    """Return how the agent is.

    Examples
    --------
    >>> judge(Signals(since_sweep_seconds=0.4, interval_seconds=1.0)).status
    'ok'
    >>> judge(Signals(since_sweep_seconds=9.0, interval_seconds=1.0)).failing
    ('the last look at the host is 9 s old, due every 1 s',)
    """
    failing = [*_late(signals), *([f"the spool: {signals.spool_error}"] if signals.spool_error else [])]
    degraded = [
        *([f"delivery: {signals.delivery_error}"] if signals.delivery_error else []),
        *(f"delivery to {tenant}: {reason}" for tenant, reason in signals.refused.items()),
        *(f"collector {name}: {reason}" for name, reason in signals.failing_collectors.items()),
        *signals.problems,
    ]
    return Health(tuple(failing), tuple(degraded))


def _late(signals: Signals) -> list[str]:
    age, interval = signals.since_sweep_seconds, signals.interval_seconds
    if age <= LATE_INTERVALS * interval + LATE_SECONDS:
        return []
    return [f"the last look at the host is {age:.0f} s old, due every {interval:g} s"]
