"""How often to look at a source: seldom while nothing happens, at once and often when something does.

One source is judged by a few of its values. A fast and a slow mean (exponential, in time, so that the interval itself
does not change them) and the values' noise about the fast one say whether the level is moving; pressure and a
peak that was forecast count without any movement. Attack is immediate, release is slow: a change takes the interval to
the fastest in one step, calm doubles it after a while.
"""

import math
from dataclasses import dataclass, replace

FAST_SECONDS = 10.0
SLOW_SECONDS = 120.0
"""Time constants of the two means."""
MOVING = 3.0
"""The fast mean is this many deviations from the slow one: something is happening."""
STILL = 1.5
PRESSURE = 0.10
"""Share of time in which work waited for the resource."""
CALM_SECONDS = 60.0
"""Calm must last this long before the interval grows, and again before it grows further."""
LEAST_DEVIATION = 0.01
"""Deviations below this share of the level are noise of counting."""


@dataclass(frozen=True, slots=True)
class SamplingBounds:
    """Between what intervals a source may move, in seconds.

    Examples
    --------
    >>> SamplingBounds(1.0, 10.0).clipped(60.0)
    10.0
    """

    fastest: float
    slowest: float

    def __post_init__(self) -> None:
        if not 0 < self.fastest <= self.slowest:
            raise ValueError(f"sampling bounds need 0 < fastest <= slowest: {self}")

    def clipped(self, seconds: float) -> float:
        """Return `seconds`, moved into the bounds."""
        return min(max(seconds, self.fastest), self.slowest)


def demanded(bounds: list[SamplingBounds]) -> SamplingBounds | None:
    """Return what serves all tenants that want a source: never slower than any of them allows.

    Examples
    --------
    >>> demanded([SamplingBounds(1.0, 10.0), SamplingBounds(2.0, 5.0)])
    SamplingBounds(fastest=1.0, slowest=5.0)
    >>> demanded([]) is None
    True
    """
    if not bounds:
        return None
    fastest = min(one.fastest for one in bounds)
    return SamplingBounds(fastest, max(fastest, min(one.slowest for one in bounds)))


@dataclass(frozen=True, slots=True)
class Level:
    """What is remembered of one value.

    Attributes
    ----------
    fast, slow : float
        Exponential means; NaN before the first value.
    deviation : float
        Mean absolute deviation of values from the fast mean, in the value's unit: their noise, without their trend.
    """

    fast: float = math.nan
    slow: float = math.nan
    deviation: float = 0.0

    def after(self, value: float, seconds: float) -> "Level":
        """Return the level once `value` was seen `seconds` after the value before."""
        if math.isnan(self.slow):
            return Level(value, value, 0.0)
        quick, lazy = (1.0 - math.exp(-seconds / constant) for constant in (FAST_SECONDS, SLOW_SECONDS))
        return Level(
            self.fast + quick * (value - self.fast),
            self.slow + lazy * (value - self.slow),
            self.deviation + lazy * (abs(value - self.fast) - self.deviation),
        )

    @property
    def movement(self) -> float:
        """Distance of the fast from the slow mean, in deviations; 0 before there is a level.

        Examples
        --------
        >>> Level(fast=10.0, slow=4.0, deviation=2.0).movement
        3.0
        """
        distance = abs(self.fast - self.slow)
        floor = LEAST_DEVIATION * abs(self.slow)
        scale = max(self.deviation, floor)
        return distance / scale if scale > 0 else 0.0 if not distance > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Situation:
    """What speaks for looking often, besides the values themselves.

    Attributes
    ----------
    pressure : float
        Largest share of time, 0..1, in which work waited (PSI).
    peak_expected : bool
        A forecast says that the load peaks about now.
    """

    pressure: float = 0.0
    peak_expected: bool = False


CALM = Situation()


@dataclass(frozen=True, slots=True)
class Pace:
    """A source's interval and how it came about.

    Attributes
    ----------
    interval_seconds : float
        Between two readings.
    calm_seconds : float
        How long nothing has happened at this interval.
    reason : str
        Why the interval is what it is, in a few words.
    """

    interval_seconds: float
    levels: tuple[Level, ...] = ()
    calm_seconds: float = 0.0
    reason: str = "start"


def next_pace(
    pace: Pace, values: tuple[float, ...], seconds: float, bounds: SamplingBounds, situation: Situation = CALM
) -> Pace:
    """Return the pace after one more reading.

    Parameters
    ----------
    values : tuple of float
        Of the source, always the same ones; counters as rates. NaN for those without a value now.
    seconds : float
        Since the reading before.

    Examples
    --------
    >>> bounds, pace = SamplingBounds(1.0, 8.0), Pace(1.0)
    >>> for _ in range(200):
    ...     pace = next_pace(pace, (0.5,), pace.interval_seconds, bounds)
    >>> pace.interval_seconds, pace.reason
    (8.0, 'calm')
    >>> next_pace(pace, (0.9,), 8.0, bounds).interval_seconds
    1.0
    """
    levels = _followed(pace.levels, values, seconds)
    reason = _alarm(levels, situation)
    if reason:
        return Pace(bounds.fastest, levels, 0.0, reason)
    calm = pace.calm_seconds + seconds if all(level.movement <= STILL for level in levels) else 0.0
    interval = bounds.clipped(pace.interval_seconds)
    if calm >= CALM_SECONDS and interval < bounds.slowest:
        return Pace(bounds.clipped(2 * interval), levels, 0.0, "calm")
    return replace(pace, interval_seconds=interval, levels=levels, calm_seconds=calm)


def _followed(levels: tuple[Level, ...], values: tuple[float, ...], seconds: float) -> tuple[Level, ...]:
    known = levels if len(levels) == len(values) else (Level(),) * len(values)
    return tuple(
        level if math.isnan(value) else level.after(value, seconds) for level, value in zip(known, values, strict=True)
    )


def _alarm(levels: tuple[Level, ...], situation: Situation) -> str:
    if situation.peak_expected:
        return "a peak is expected"
    if situation.pressure >= PRESSURE:
        return "pressure"
    return "trend" if any(level.movement >= MOVING for level in levels) else ""
