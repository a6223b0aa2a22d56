"""Time as a parameter: whoever waits or stamps takes a :class:`Clock`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(instant: datetime) -> int:
    """Return nanoseconds since the epoch, exactly.

    Examples
    --------
    >>> nanoseconds(datetime(1970, 1, 2, 0, 0, 0, 1, tzinfo=UTC))
    86400000001000
    """
    since = instant - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def instant_of(wall_ns: int) -> datetime:
    """Return the instant of nanoseconds since the epoch, to the microsecond.

    Examples
    --------
    >>> instant_of(86400000001000).isoformat()
    '1970-01-02T00:00:00.000001+00:00'
    """
    return _EPOCH + timedelta(microseconds=wall_ns // 1000)


class Clock(Protocol):
    """What the project may know of time."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        ...

    def wall_ns(self) -> int:
        """Return the same as nanoseconds since 1970, to the microsecond: for those who stamp often."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary origin."""
        ...

    def boottime(self) -> float:
        """Return the same, with the time in which the machine slept."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class AsyncClock(Clock, Protocol):
    """A clock by which coroutines wait too."""

    async def asleep(self, seconds: float) -> None:
        """Wait without holding up the event loop."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def wall_ns(self) -> int:
        """Return ``time.time_ns()``, to the microsecond."""
        return time.time_ns() // 1000 * 1000

    monotonic = staticmethod(time.monotonic)
    """The function itself: policies ask it at every call."""

    def boottime(self) -> float:
        """Return ``CLOCK_BOOTTIME``; where there is none, the monotonic clock, and sleep looks like a step."""
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Wait for at least `seconds`; zero and less return at once."""
        if seconds > 0:
            time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait for at least `seconds`; zero and less let others run and return."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

        await asyncio.sleep(max(seconds, 0.0))


class ManualClock:
    """A clock moved by hand; sleeping moves it.

    Examples
    --------
    >>> clock = ManualClock()
    >>> clock.sleep(5)
    >>> clock.monotonic()
    5.0
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._monotonic = 0.0
        self._suspended = 0.0

    def now(self) -> datetime:
        """Return the hand-driven wall clock."""
        return self._now

    def wall_ns(self) -> int:
        """Return the hand-driven wall clock."""
        return nanoseconds(self.now())

    def monotonic(self) -> float:
        """Return the seconds moved so far."""
        return self._monotonic

    def boottime(self) -> float:
        """Return the seconds moved so far, those suspended included."""
        return self._monotonic + self._suspended

    def sleep(self, seconds: float) -> None:
        """Move all clocks at once."""
        self.move(max(seconds, 0.0))

    async def asleep(self, seconds: float) -> None:
        """Move all clocks at once."""
        self.sleep(seconds)

    def move(self, seconds: float) -> None:
        """Move all clocks by `seconds`."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += float(seconds)

    def step(self, seconds: float) -> None:
        """Set the wall clock, and nothing else, forward or back."""
        self._now += timedelta(seconds=seconds)

    def suspend(self, seconds: float) -> None:
        """Sleep as a machine does: the monotonic clock stands."""
        self._now += timedelta(seconds=seconds)
        self._suspended += float(seconds)
