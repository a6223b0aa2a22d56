"""When a circuit opens, and how it closes again: the words and numbers of a circuit breaker."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class Phase(StrEnum):
    """Where the circuit stands; the last three are set by hand."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    """Every call passes, and nothing is counted."""
    METRICS_ONLY = "metrics_only"
    """Every call passes and is counted, and nothing opens."""


PHASES = tuple(Phase)
"""In the order of their numbers in shared state: append, never reorder."""


class Outcome(StrEnum):
    """What one call says about the health of the other side."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    """Nothing: cancelled, or refused for reasons of the caller's own."""


class Terms(NamedTuple):
    """A policy as the numbers that a step is told, in the order in which it is told."""

    failure_threshold: int
    failure_permille: int
    slow_permille: int
    minimum_calls: int
    window_calls: int
    window_us: int
    recovery_us: int
    probes: int
    successes: int
    lease_us: int


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, and how it closes again.

    Attributes
    ----------
    failure_threshold : int
        Failures in the window that open the circuit, however many calls there were; 0 for none.
    recovery_seconds : float
        Time it stays open before probes are let through.
    window_calls : int or None
        The window is the last so many calls; by default twice the threshold, at least ten times `minimum_calls`
        where a ratio is watched.
    probes : int
        Calls let through at once while half open, in the whole fleet.
    lease_seconds : float
        A probe that has not reported after this time is given up: longer than the longest call.
    window_seconds : float or None
        The window is a time instead, in ten steps.
    failure_ratio, slow_ratio : float or None
        Share of failed, of slow calls in the window, in (0, 1], from which the circuit opens.
    minimum_calls : int
        Calls in the window before a ratio means anything.
    slow_seconds : float or None
        A call that takes longer is slow.
    successes : int or None
        Probes that must succeed before the circuit closes; by default all of `probes`.
    """

    failure_threshold: int
    recovery_seconds: float
    window_calls: int | None = None
    probes: int = 1
    lease_seconds: float = 60.0
    window_seconds: float | None = None
    failure_ratio: float | None = None
    slow_ratio: float | None = None
    minimum_calls: int = 10
    slow_seconds: float | None = None
    successes: int | None = None

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem is not None:
            raise ValueError(f"a circuit breaker cannot work so: {problem}")

    @property
    def window(self) -> int:
        """Calls in a window that is counted in calls."""
        if self.window_calls is not None:
            return self.window_calls
        watched = self.failure_ratio is not None or self.slow_ratio is not None
        return max(2 * self.failure_threshold, 10 * self.minimum_calls if watched else 1)

    @property
    def terms(self) -> Terms:
        """The same in whole numbers."""
        return Terms(
            failure_threshold=self.failure_threshold,
            failure_permille=round(1000 * (self.failure_ratio or 0)),
            slow_permille=round(1000 * (self.slow_ratio or 0)),
            minimum_calls=self.minimum_calls,
            window_calls=self.window,
            window_us=round(1e6 * (self.window_seconds or 0)),
            recovery_us=round(1e6 * self.recovery_seconds),
            probes=self.probes,
            successes=self.successes if self.successes is not None else self.probes,
            lease_us=round(1e6 * self.lease_seconds),
        )


class BreakerSettings(Protocol):
    """``patterns.circuit_breaker``, wherever it comes from."""

    @property
    def failure_threshold(self) -> int: ...  # noqa: D102 - see the settings
    @property
    def recovery_timeout(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def window_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def failure_ratio(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def slow_ratio(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def slow_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def minimum_calls(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def probes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def success_threshold(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def probe_lease_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it


def configured(settings: BreakerSettings) -> BreakerPolicy:
    """Return the policy that the settings describe: 0 there means that something is not watched.

    A window of calls is as long as the threshold, which counts failures in a row then, and longer where a share is
    watched.
    """
    watched = settings.failure_ratio > 0 or settings.slow_ratio > 0
    return BreakerPolicy(
        settings.failure_threshold,
        settings.recovery_timeout,
        window_calls=max(settings.failure_threshold, 10 * settings.minimum_calls if watched else 1),
        probes=settings.probes,
        lease_seconds=settings.probe_lease_seconds,
        window_seconds=settings.window_seconds or None,
        failure_ratio=settings.failure_ratio or None,
        slow_ratio=settings.slow_ratio or None,
        minimum_calls=settings.minimum_calls,
        slow_seconds=settings.slow_seconds if settings.slow_ratio else None,
        successes=settings.success_threshold,
    )


def _problem(policy: BreakerPolicy) -> str | None:
    """Return what is impossible about a policy: the key, and why."""
    ratios = {"failure_ratio": policy.failure_ratio, "slow_ratio": policy.slow_ratio}
    times = {
        "recovery_seconds": policy.recovery_seconds,
        "lease_seconds": policy.lease_seconds,
        "window_seconds": policy.window_seconds,
        "slow_seconds": policy.slow_seconds,
    }
    counts = {"probes": policy.probes, "minimum_calls": policy.minimum_calls, "window_calls": policy.window}
    rules = [
        *((f"{key} {value} is no time above 0", value is None or value > 0) for key, value in times.items()),
        *((f"{key} {value} is less than 1", value >= 1) for key, value in counts.items()),
        *(
            (f"{key} {value} is no share from 0.001 to 1", value is None or 0.001 <= value <= 1)
            for key, value in ratios.items()
        ),
        (f"failure_threshold {policy.failure_threshold} is negative", policy.failure_threshold >= 0),
        (
            "neither failure_threshold nor failure_ratio nor slow_ratio is set, so that it would never open",
            policy.failure_threshold > 0 or any(value is not None for value in ratios.values()),
        ),
        (
            "slow_ratio without slow_seconds: nothing would be slow",
            policy.slow_ratio is None or policy.slow_seconds is not None,
        ),
        (
            f"successes {policy.successes} is not from 1 to probes {policy.probes}: it would never close",
            policy.successes is None or 1 <= policy.successes <= policy.probes,
        ),
        (
            f"window_seconds {policy.window_seconds} is shorter than ten steps of 1 ms",
            policy.window_seconds is None or policy.window_seconds >= 0.01,
        ),
        (
            f"window_calls {policy.window} is less than failure_threshold {policy.failure_threshold}",
            policy.window_seconds is not None or policy.window >= policy.failure_threshold,
        ),
        (
            f"window_calls {policy.window} is less than minimum_calls {policy.minimum_calls}: no ratio would count",
            policy.window_seconds is not None or not any(ratios.values()) or policy.window >= policy.minimum_calls,
        ),
        (f"window_calls {policy.window} is more than 10000: use window_seconds", policy.window <= 10_000),
        (f"probes {policy.probes} is more than 1000", policy.probes <= 1000),
    ]
    return next((text for text, holds in rules if not holds), None)
