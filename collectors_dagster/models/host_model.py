"""Everything learned from a host's history: its profile, how its signals move together, and how rare findings are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.models import limits
from collectors_dagster.models.profile import READY_MINUTES, Bools, Expectation, Profile
from collectors_dagster.models.signal_rules import effect
from collectors_dagster.models.tail import TailModel
from collectors_dagster.models.windowed_residual import CONTEXT_ROWS, WindowedResidual

QUIET_CAP = 1.0
"""Largest s of a signal below its minimum effect: visible (0.68), never an alert."""
SPAN_MINUTES = 10.0
"""A host's score says how rare its finding is among spans of ten minutes: 0.9 is one in a hundred of them, at most one
or two a day. By the minute it would be fourteen."""
LEVEL_SPAN_MINUTES = 60.0
"""The same for minutes of a host with known days whose own time of day is not known: against the typical level, a busy
hour stands out as a whole."""
CALIBRATION_ROWS = 4000
"""Rows of the history, evenly spread, that say how rare it is that signals move as they do not."""
JOINT_EFFECT = 2.5
"""Sum of the signals' met effects (each at most 1) from which it is asked how they move together: several do."""


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
class HeldOut:
    """What was found about the minutes of the history itself, each judged without its own day (or eighth).

    Attributes
    ----------
    finding : shape (n,)
        s of the rarest signal or of all together, before it is calibrated on the host; above :data:`QUIET_CAP` only
        where a minimum effect is met.
    host : shape (n,)
        s of the host. NaN in both where nothing was measured. Minutes of a seasonal host whose time of day is not
        known yet are NaN here: the first night's backup is new, and still no exception.
    """

    finding: Floats
    host: Floats


@dataclass(frozen=True, slots=True)
class HostModel:
    """A fitted host.

    Attributes
    ----------
    together : WindowedResidual
        How the signals' deviations move together.
    together_tail, host_tail : TailModel
        How rare its, and the combined, findings are on this host's history.
    level_tail : TailModel
        The same as `host_tail` for findings against the typical level: a nightly job is strange every night to a model
        that does not know the hour, and rare to none that does.
    waived : shape (14,)
        Signals whose physical limit is this host's normal life.
    """

    profile: Profile
    together: WindowedResidual
    together_tail: TailModel
    host_tail: TailModel
    level_tail: TailModel
    waived: Bools

    @classmethod
    def fit(cls, memory: Timeline, *, seasonal: bool, seed: int) -> tuple["HostModel", HeldOut]:
        """Learn a host; also return what it finds in every minute of the history."""
        fitted = Profile.fit(memory, seasonal=seasonal)
        profile, expected = fitted.profile, fitted.expected
        deviations = profile.deviations(memory.values, expected)
        judgeable: Bools = np.asarray(np.isfinite(deviations).any(axis=1))
        together = WindowedResidual.fit(deviations, judgeable if judgeable.any() else memory.measured, seed=seed)
        decades = 1.0 if seasonal else 0.0
        spread = np.flatnonzero(judgeable)[:: max(int(judgeable.sum()) // CALIBRATION_ROWS, 1)]
        together_tail = TailModel.fit(together.strangeness(deviations, spread), resolution=0.01, decades=decades)
        met = effect(memory.values, expected.normal, seasonal=expected.seasonal)
        several = np.flatnonzero(_several(met) & judgeable)
        joint = np.zeros(len(memory))
        joint[several] = together_tail.surprise(together.strangeness(deviations, several))
        combined = _measured_only(np.maximum(_material(fitted.surprise, met).max(axis=1), joint), memory)
        judged = np.asarray(expected.seasonal.any(axis=1) | (not seasonal))
        host_tail = TailModel.fit(_comparable(combined, judged), resolution=0.1, decades=decades + 1.0)
        level_tail = host_tail
        if seasonal:
            found = _measured_only(_by_level(profile, fitted.by_level, memory.values), memory)
            level_tail = TailModel.fit(found, resolution=0.1, decades=decades + 1.0)
        waived = limits.waived(memory.values, expected.normal) if seasonal else np.zeros(len(SIGNALS), np.bool_)
        model = cls(profile, together, together_tail, host_tail, level_tail, waived)
        by_minute = np.minimum(combined, host_tail.surprise(combined))
        held_out = np.maximum(by_minute, model._limits(memory.values, expected).max(axis=1))
        return model, HeldOut(combined, np.where(judged, held_out, np.nan))

    def judge(self, context: Floats, rows: NDArray[np.int64], expected: Expectation) -> Judgement:
        """Judge `rows` of `context`."""
        values = context[rows]
        met = effect(values, expected.normal, seasonal=expected.seasonal)
        surprise = _material(self.profile.surprise(values, expected), met)
        combined = np.maximum(surprise.max(axis=1), self._joint(context, rows, met))
        limit = self._limits(values, expected)
        host = np.maximum(self._rarity(combined, np.asarray(expected.seasonal.any(axis=1))), limit.max(axis=1))
        return Judgement(np.maximum(surprise, limit), met, host)

    def _rarity(self, combined: Floats, timed: Bools) -> Floats:
        """Return s of the combined finding: never rarer than this host's history makes it.

        `timed` says of which rows the normal of the time of day is known.
        """
        rarity = _among_spans(self.host_tail, combined, SPAN_MINUTES)
        if self.profile.season is None:
            return rarity
        return np.where(timed, rarity, _among_spans(self.level_tail, combined, LEVEL_SPAN_MINUTES))

    def _limits(self, values: Floats, expected: Expectation) -> Floats:
        """Return s granted by the limits.

        Where a host's hours are known but not this one, a rise counts from the top of the expected range: from the
        median, every busy noon is a jump.
        """
        timed = expected.seasonal | (self.profile.season is None)
        return np.where(self.waived, 0.0, limits.reached(values, np.where(timed, expected.normal, expected.high)))

    def _joint(self, context: Floats, rows: NDArray[np.int64], met: Floats) -> Floats:
        """Return s of how all move together, for the rows where several signals move at once; 0 elsewhere."""
        joint = np.zeros(len(rows))
        several = np.flatnonzero(_several(met))
        if not len(several):
            return joint
        spans = [np.arange(max(int(row) + 1 - CONTEXT_ROWS, 0), int(row) + 1) for row in rows[several]]
        needed = np.unique(np.concatenate(spans))
        deviations = self.profile.deviations(context[needed], self.profile.expectation(context, needed))
        found = [  # one by one: a row's score must not depend, not even in its last digit, on those asked beside it
            self.together.strangeness(deviations[np.searchsorted(needed, span)], slice(-1, None))[0] for span in spans
        ]
        joint[several] = self.together_tail.surprise(np.array(found))
        return joint

    def words(self) -> dict[str, Any]:
        """Return what goes to a JSON file."""
        return {
            "profile": self.profile.words(),
            "together": self.together.words(),
            "together_tail": self.together_tail.words(),
            "host_tail": self.host_tail.words(),
            "level_tail": self.level_tail.words(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file."""
        return {
            **self.profile.arrays(),
            **self.together.arrays("together"),
            "waived": self.waived,
            "together_quantiles": self.together_tail.quantiles,
            "host_quantiles": self.host_tail.quantiles,
            "level_calibration": self.level_tail.quantiles,
        }

    @classmethod
    def stored(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "HostModel":
        """Return the model that :meth:`words` and :meth:`arrays` describe."""
        return cls(
            profile=Profile.stored(words["profile"], arrays),
            together=WindowedResidual.stored(words["together"], arrays, "together"),
            together_tail=TailModel.stored(words["together_tail"], arrays["together_quantiles"]),
            host_tail=TailModel.stored(words["host_tail"], arrays["host_quantiles"]),
            level_tail=TailModel.stored(words["level_tail"], arrays["level_calibration"]),
            waived=arrays["waived"],
        )


def _several(met: Floats) -> Bools:
    return np.asarray(np.clip(met, 0.0, 1.0).sum(axis=1) >= JOINT_EFFECT)


def _material(surprise: Floats, met: Floats) -> Floats:
    """Weigh surprise by effect: in full where the minimum effect is met, bounded below it."""
    return np.where(met >= 1.0, surprise, np.minimum(surprise * met, QUIET_CAP))


def _among_spans(tail: TailModel, combined: Floats, minutes: float) -> Floats:
    rarity = tail.surprise(combined) - np.log10(minutes)
    return np.asarray(np.minimum(combined, np.maximum(rarity, 0.0)))


def _by_level(profile: Profile, surprise: Floats, values: Floats) -> Floats:
    """Return the rarest signal of each row when nothing is known but the typical level."""
    nowhere = np.zeros(values.shape, dtype=np.bool_)
    met = effect(values, np.broadcast_to(profile.typical, values.shape), seasonal=nowhere)
    return np.asarray(_material(surprise, met).max(axis=1))


def _comparable(combined: Floats, judged: Bools) -> Floats:
    """Return the findings of the minutes that are judged alike; of all where these are too few to calibrate with."""
    alike = np.where(judged, combined, np.nan)
    return alike if np.isfinite(alike).sum() >= READY_MINUTES else combined


def _measured_only(values: Floats, memory: Timeline) -> Floats:
    return np.where(memory.measured, values, np.nan)
