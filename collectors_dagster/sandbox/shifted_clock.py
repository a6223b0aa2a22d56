"""A clock that runs as another one, ahead of it by as much as it was told."""

from datetime import datetime, timedelta

from collectors_dagster.clock import Clock


class ShiftedClock:
    """Lets a sandbox's time jump: tokens end, windows pass, plays and new days come.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> clock = ShiftedClock(ManualClock())
    >>> clock.move(86400)
    >>> clock.now().isoformat(), clock.monotonic()
    ('2026-01-02T00:00:00+00:00', 86400.0)
    """

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = 0.0

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return self._base.now() + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self._base.monotonic() + self._ahead

    def move(self, seconds: float) -> None:
        """Jump ahead."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._ahead += seconds
