"""Everything learned from a host's history: its profile, its forest, and how rare their findings are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.models import limits
from collectors_dagster.models.forest import CONTEXT_MINUTES, HostForest, windowed
from collectors_dagster.models.profile import Bools, Expectation, Profile
from collectors_dagster.models.signal_rules import effect
from collectors_dagster.models.tail import TailModel

QUIET_CAP = 1.0
"""Largest s of a signal below its minimum effect: visible (0.68), never an alert."""
SPAN_MINUTES = 10.0
"""A host's score says how rare its finding is among spans of ten minutes: 0.9 is one in a hundred of them, at most one
or two a day. By the minute it would be fourteen."""
JOINT_EFFECT = 2.5
"""Sum of the signals' met effects (each at most 1) from which the forest is asked: several move at once."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about some minutes.

    Attributes
    ----------
    strength : shape (n, 14)
        s = -log10 p granted to each signal.
    effect : shape (n, 14)
        How far each minimum effect is met.
    host : shape (n,)
        s of the host.
    """

    strength: Floats
    effect: Floats
    host: Floats


@dataclass(frozen=True, slots=True)
class HostModel:
    """A fitted host.

    Attributes
    ----------
    forest_tail, host_tail : TailModel
        How rare the forest's, and the combined, findings are on this host's history.
    waived : shape (14,)
        Signals whose physical limit is this host's normal life.
    """

    profile: Profile
    forest: HostForest
    forest_tail: TailModel
    host_tail: TailModel
    waived: Bools

    @classmethod
    def fit(cls, memory: Timeline, *, seasonal: bool, seed: int) -> tuple["HostModel", Floats]:
        """Learn a host; also return s of every minute of the history, held out by its day (or eighth).

        Minutes of a seasonal host whose time of day is not known yet are NaN there: the first night's backup is new,
        and still no exception.
        """
        profile, surprise = Profile.fit(memory, seasonal=seasonal)
        expected = profile.expectation(memory.values, np.arange(len(memory)))
        deviations = profile.deviations(memory.values, expected)
        forest = HostForest.fit(deviations, seed=seed)
        strange = _measured_only(forest.strangeness(windowed(deviations)), memory)
        decades = 1.0 if seasonal else 0.0
        forest_tail = TailModel.fit(strange, resolution=0.01, decades=decades)
        met = effect(memory.values, expected.normal, seasonal=expected.seasonal)
        joint = np.where(_several(met), forest_tail.surprise(strange), 0.0)
        combined = _measured_only(np.maximum(_material(surprise, met).max(axis=1), joint), memory)
        host_tail = TailModel.fit(combined, resolution=0.1, decades=decades + 1.0)
        waived = limits.waived(memory.values, expected.normal) if seasonal else np.zeros(len(SIGNALS), np.bool_)
        model = cls(profile, forest, forest_tail, host_tail, waived)
        by_minute = np.minimum(combined, host_tail.surprise(combined))
        held_out = np.maximum(by_minute, model._limits(memory.values, expected).max(axis=1))
        judged = expected.seasonal.any(axis=1) | (not seasonal)
        return model, np.where(judged, held_out, np.nan)

    def judge(self, context: Floats, rows: NDArray[np.int64], expected: Expectation) -> Judgement:
        """Judge `rows` of `context`."""
        values = context[rows]
        met = effect(values, expected.normal, seasonal=expected.seasonal)
        surprise = _material(self.profile.surprise(values, expected), met)
        combined = np.maximum(surprise.max(axis=1), self._joint(context, rows, met))
        limit = self._limits(values, expected)
        host = np.maximum(self._rarity(combined), limit.max(axis=1))
        return Judgement(np.maximum(surprise, limit), met, host)

    def _rarity(self, combined: Floats) -> Floats:
        """Return s of the combined finding: never rarer than this host's history makes it."""
        rarity = self.host_tail.surprise(combined) - np.log10(SPAN_MINUTES)
        return np.asarray(np.minimum(combined, np.maximum(rarity, 0.0)))

    def _limits(self, values: Floats, expected: Expectation) -> Floats:
        return np.where(self.waived, 0.0, limits.reached(values, expected.normal))

    def _joint(self, context: Floats, rows: NDArray[np.int64], met: Floats) -> Floats:
        """Return the forest's s for the rows where several signals move at once; 0 elsewhere."""
        joint = np.zeros(len(rows))
        several = np.flatnonzero(_several(met))
        if len(several):
            features = np.vstack([self._window(context, int(row)) for row in rows[several]])
            joint[several] = self.forest_tail.surprise(self.forest.strangeness(features))
        return joint

    def _window(self, context: Floats, row: int) -> Floats:
        """Return the forest's view of one row."""
        span = np.arange(max(row + 1 - CONTEXT_MINUTES, 0), row + 1)
        expected = self.profile.expectation(context, span)
        return np.asarray(windowed(self.profile.deviations(context[span], expected))[-1])

    def words(self) -> dict[str, Any]:
        """Return what goes to a JSON file."""
        return {
            "profile": self.profile.words(),
            "forest_tail": self.forest_tail.words(),
            "host_tail": self.host_tail.words(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file; the forest has its own."""
        return {
            **self.profile.arrays(),
            "waived": self.waived,
            "forest_quantiles": self.forest_tail.quantiles,
            "host_quantiles": self.host_tail.quantiles,
        }

    @classmethod
    def stored(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], directory: Path) -> "HostModel":
        """Return the model that the files of `directory` describe."""
        return cls(
            profile=Profile.stored(words["profile"], arrays),
            forest=HostForest.load(directory / "forest.skops"),
            forest_tail=TailModel.stored(words["forest_tail"], arrays["forest_quantiles"]),
            host_tail=TailModel.stored(words["host_tail"], arrays["host_quantiles"]),
            waived=arrays["waived"],
        )


def _several(met: Floats) -> Bools:
    return np.asarray(np.clip(met, 0.0, 1.0).sum(axis=1) >= JOINT_EFFECT)


def _material(surprise: Floats, met: Floats) -> Floats:
    """Weigh surprise by effect: in full where the minimum effect is met, bounded below it."""
    return np.where(met >= 1.0, surprise, np.minimum(surprise * met, QUIET_CAP))


def _measured_only(values: Floats, memory: Timeline) -> Floats:
    return np.where(memory.measured, values, np.nan)
