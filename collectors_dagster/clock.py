"""Time as a parameter: whoever waits or stamps takes a :class:`Clock`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the project may know of time."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary origin."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for at least `seconds`; zero and less return at once."""
        if seconds > 0:
            time.sleep(seconds)


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

    def now(self) -> datetime:
        """Return the hand-driven wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds moved so far."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Move both clocks at once."""
        self.move(max(seconds, 0.0))

    def move(self, seconds: float) -> None:
        """Move both clocks by `seconds`."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += float(seconds)
