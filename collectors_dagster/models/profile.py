"""A host's habits: what is normal for it now, and how rare a departure is.

Two views of each value, as :mod:`collectors_dagster.models.series_detector` has them: itself, and its distance from
what is usual at this time of day. Both are judged by what was never seen, and joined by Fisher's method.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.seasonal import seasonal_normal
from collectors_dagster.features.timeline import DAY_MINUTES, Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.rarity import both
from collectors_dagster.models.reference import Reference, column_quantile
from collectors_dagster.records import ModelState

LEARNING_MINUTES = 60
READY_MINUTES = 2 * DAY_MINUTES

Bools = NDArray[np.bool_]


def state_of(memory: Timeline) -> ModelState:
    """Say how far one may trust a model of this history."""
    measured = memory.measured
    seen = int(measured.sum())
    if seen < LEARNING_MINUTES:
        return ModelState.LEARNING
    span = int(np.flatnonzero(measured)[-1] - np.flatnonzero(measured)[0])
    if span < READY_MINUTES or seen < READY_MINUTES // 2:
        return ModelState.PROVISIONAL
    return ModelState.READY


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of some minutes; all of shape (n, 14), NaN where nothing is known.

    Attributes
    ----------
    normal : the season's, or the median level
    low, high : the expected range
    scale : robust standard deviation
    seasonal : whether the normal is that of the time of day
    """

    normal: Floats
    low: Floats
    high: Floats
    scale: Floats
    seasonal: Bools


@dataclass(frozen=True, slots=True)
class Profile:
    """The fitted habits of one host.

    Attributes
    ----------
    typical : shape (14,)
        Median level; the normal where no season is known.
    level : Reference
        Distances from the typical level.
    season : Reference or None
        Distances from the normal of the time of day; None before two days are known.
    """

    typical: Floats
    level: Reference
    season: Reference | None

    @classmethod
    def fit(cls, memory: Timeline, *, seasonal: bool) -> "Fitted":
        """Learn the habits; also say what every minute of the history is to them."""
        typical = as_stored(column_quantile(memory.values, 0.5))
        level, by_level = Reference.fit(memory.values - typical, decades=1.0 if seasonal else 0.0)
        if not seasonal:
            profile = cls(typical, level, None)
            return Fitted(profile, profile._expected(np.full(memory.values.shape, np.nan)), by_level, by_level)
        usual = seasonal_normal(memory.values, np.arange(len(memory)))
        season, by_season = Reference.fit(memory.values - usual, decades=1.0)
        profile = cls(typical, level, season)
        surprise = np.where(np.isfinite(usual), both(by_season, by_level), by_level)
        return Fitted(profile, profile._expected(usual), surprise, by_level)

    def expectation(self, context: Floats, rows: NDArray[np.int64]) -> Expectation:
        """Return what is expected of `rows` of `context`, from earlier days only."""
        if self.season is None:
            return self._expected(np.full((len(rows), len(self.typical)), np.nan))
        return self._expected(seasonal_normal(context, rows))

    def _expected(self, usual: Floats) -> Expectation:
        """Return what is expected where `usual`, of the time of day, is NaN where that is not known."""
        known = np.isfinite(usual)
        normal, season = np.where(known, usual, self.typical), self.season or self.level
        return Expectation(
            normal=normal,
            low=normal + np.where(known, season.low, self.level.low),
            high=normal + np.where(known, season.high, self.level.high),
            scale=np.where(known, season.scale, self.level.scale),
            seasonal=known,
        )

    def surprise(self, values: Floats, expected: Expectation) -> Floats:
        """Return s = -log10 p of each value, shape (n, 14); 0 where unknown."""
        level = self.level.surprise(values - self.typical)
        if self.season is None or not expected.seasonal.any():
            return level
        season = self.season.surprise(values - expected.normal)
        return np.where(expected.seasonal, both(season, level), level)

    def deviations(self, values: Floats, expected: Expectation) -> Floats:
        """Return robust z values of one kind only: of a seasonal host none where the season is not known."""
        z = (values - expected.normal) / expected.scale
        return np.where(expected.seasonal | (self.season is None), z, np.nan)

    def words(self) -> dict[str, Any]:
        """Return what goes to a JSON file."""
        return {"level": self.level.words(), "season": self.season.words() if self.season else None}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file."""
        season = self.season.arrays("season") if self.season else {}
        return {"typical": self.typical, **self.level.arrays("level"), **season}

    @classmethod
    def stored(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Profile":
        """Return the profile that :meth:`words` and :meth:`arrays` describe."""
        season = Reference.stored(words["season"], arrays, "season") if words["season"] else None
        return cls(arrays["typical"], Reference.stored(words["level"], arrays, "level"), season)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Habits, and what the history that they were learned from is to them.

    Attributes
    ----------
    expected : of every minute, as :meth:`Profile.expectation` has it
    surprise : shape (n, 14)
        s of each value, held out by its block: against the normal of the time of day where that is known.
    by_level : shape (n, 14)
        The same, everywhere against the typical level.
    """

    profile: Profile
    expected: Expectation
    surprise: Floats
    by_level: Floats
