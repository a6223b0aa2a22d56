"""When to look at the host: on a monotonic grid, without drift, missed times counted."""

from typing import NamedTuple


class Schedule(NamedTuple):
    """Equally spaced times of a monotonic clock.

    Attributes
    ----------
    due : float
        The next time.
    missed : int
        Times that passed without being served, because the one before took too long or the machine slept.

    Examples
    --------
    >>> schedule = Schedule(interval=1.0, due=10.0)
    >>> schedule.after(10.2)
    Schedule(interval=1.0, due=11.0, missed=0)
    >>> schedule.after(13.5)
    Schedule(interval=1.0, due=14.0, missed=3)
    """

    interval: float
    due: float
    missed: int = 0

    def after(self, now: float) -> "Schedule":
        """Return the schedule once the present time is served, at `now`."""
        late = max(0, int((now - self.due) // self.interval))
        return Schedule(self.interval, self.due + (late + 1) * self.interval, self.missed + late)


def first_due(monotonic: float, wall_seconds: float, interval: float) -> float:
    """Return a first time that lies half an interval beside the wall clock's own grid.

    Intervals of tenants begin on that grid; a look half way between is in the same interval every time, however the
    clocks drift against each other within half an interval.

    Examples
    --------
    >>> first_due(monotonic=100.0, wall_seconds=7.25, interval=1.0)
    100.25
    """
    phase = (wall_seconds - interval / 2) % interval
    return monotonic + (interval - phase) % interval
