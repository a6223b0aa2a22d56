"""What the clocks say at one instant, and what happened to them between two. Pure but for reading the clocks.

Intervals are named by the wall clock, rates come from the monotonic one. Where the two part, people need to know why
times repeat or are missing: a wall clock that was set, or a machine that slept.
"""

from typing import NamedTuple

from collectors_dagster.agent.records import ClockChange
from collectors_dagster.clock import Clock
from collectors_dagster.records import ClockEventKind

NANOSECONDS = 1_000_000_000
NOTABLE_SECONDS = 0.5
"""A wall clock that was set by more than this, or a sleep that lasted longer, is an event; NTP slews a two thousandth
of the time between two looks."""


class Instant(NamedTuple):
    """All clocks, read one after the other.

    Attributes
    ----------
    doubt_ns : int
        Time the reading itself took: on a busy machine we may be put aside between two clocks.
    """

    wall_ns: int
    mono_ns: int
    boot_ns: int
    doubt_ns: int = 0


def read_instant(clock: Clock) -> Instant:
    """Read all clocks."""
    mono = clock.monotonic()
    wall_ns, boot = clock.wall_ns(), clock.boottime()
    doubt = clock.monotonic() - mono
    return Instant(wall_ns, round(mono * 1e9), round(boot * 1e9), round(doubt * 1e9))


def clock_changes(before: Instant, after: Instant) -> tuple[ClockChange, ...]:
    """Return what happened to the clocks between two looks at them.

    Examples
    --------
    >>> hour = 3600 * NANOSECONDS
    >>> [(change.kind.value, change.seconds) for change in clock_changes(Instant(0, 0, 0), Instant(-hour, 0, 0))]
    [('clock_step', -3600.0)]
    >>> [(change.kind.value, change.seconds) for change in clock_changes(Instant(0, 0, 0), Instant(hour, 0, hour))]
    [('suspend', 3600.0)]
    """
    booted_ns = after.boot_ns - before.boot_ns
    slept_ns = booted_ns - (after.mono_ns - before.mono_ns)
    set_ns = after.wall_ns - before.wall_ns - booted_ns
    notable_ns = NOTABLE_SECONDS * NANOSECONDS + before.doubt_ns + after.doubt_ns
    changes: tuple[ClockChange, ...] = ()
    if slept_ns > notable_ns:
        changes += (ClockChange(ClockEventKind.SUSPEND, slept_ns / NANOSECONDS),)
    if abs(set_ns) > notable_ns:
        changes += (ClockChange(ClockEventKind.STEP, set_ns / NANOSECONDS),)
    return changes
