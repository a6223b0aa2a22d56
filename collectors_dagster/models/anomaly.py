"""The anomaly detector: causal, per host, one setting for everybody.

Per signal: residual against the same time of day (or the median level before two days are known), novelty of that
residual against all residuals of the history, turned into a tail probability; then a minimum effect in the signal's
own unit. Per host: the largest of these and an Isolation Forest over all deviations, calibrated on the host's own
history so that fourteen signals do not mean fourteen times the alarms. Physical limits speak in every state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import EMPTY, Timeline, joined, minutes_of
from collectors_dagster.frames import Floats, SignalFrame
from collectors_dagster.models import bundle, limits
from collectors_dagster.models.acceptance import unlearned
from collectors_dagster.models.explain import Evidence, contributions
from collectors_dagster.models.forest import CONTEXT_MINUTES, HostForest, windowed
from collectors_dagster.models.profile import Profile, state_of
from collectors_dagster.models.signal_rules import RESOLUTION, effect
from collectors_dagster.models.tail import TailModel, shown
from collectors_dagster.records import ModelState, ScoredMinute, Window

KIND = "anomaly"
UNREGISTERED = "unregistered"
MEMORY_DAYS = 14
BASELINE_MINUTES = 60
BASELINE_ROWS = 10
QUIET_CAP = 1.0
"""Largest s of a signal below its minimum effect: visible (0.68), never an alert."""
EXPLAINED_FROM = 0.5
_NEVER_CRITICAL = 3.6
_JOINT_EFFECT = 2.5


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Everything learned from at least an hour of history."""

    profile: Profile
    forest: HostForest
    forest_tail: TailModel
    host_tail: TailModel
    waived: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Judged:
    """The steps from values to scores, kept for the explanation; rows are minutes."""

    surprise: Floats
    effect: Floats
    limit: Floats
    host: Floats


class HostDetector:
    """Scores the minutes of one host.

    Attributes
    ----------
    host : str
    state : ModelState
        How much history is behind the scores.
    version : str
        Of the registered bundle it came from.

    Examples
    --------
    >>> axis = np.datetime64("2026-01-01T00:01:00", "s") + 60 * np.arange(3)
    >>> busy = SignalFrame("web1", axis, ("cpu_utilization_ratio",), np.array([[0.1], [0.2], [0.95]]))
    >>> [round(one.score, 2) for one in HostDetector.untrained("web1").score(busy, None)]
    [0.0, 0.0, 0.95]
    """

    def __init__(self, host: str, memory: Timeline, fitted: _Fitted | None, version: str = UNREGISTERED) -> None:
        self.host = host
        self.version = version
        self._memory = memory
        self._fitted = fitted
        self.state = state_of(memory)

    @classmethod
    def untrained(cls, host: str, version: str = UNREGISTERED) -> "HostDetector":
        """Return the detector of a host nobody knows: physical limits only."""
        return cls(host, EMPTY, None, version)

    @classmethod
    def fit(cls, frames: Sequence[SignalFrame], *, seed: int, mask: Sequence[Window] = ()) -> "HostDetector":
        """Learn from the frames of one host.

        Parameters
        ----------
        frames : sequence of SignalFrame
            Minutes in any order, gaps allowed; the last 14 days count.
        seed : int
            Of the forest; the same data and seed give the same detector.
        mask : sequence of Window
            Incidents: their minutes are not learned, unless they keep coming back (see ``acceptance``).
        """
        host = frames[0].host if frames else ""
        everything = joined(frames, days=MEMORY_DAYS)
        memory = everything.without(unlearned(everything, mask))
        memory = Timeline(memory.first, memory.values.astype(np.float32).astype(np.float64))
        if state_of(memory) is ModelState.LEARNING:
            return cls(host, memory, None)
        return cls(host, memory, _fit(memory, seed))

    def score(self, current: SignalFrame, history: SignalFrame | None) -> list[ScoredMinute]:
        """Score the minutes of `current`; each as if it were the newest.

        Parameters
        ----------
        current : SignalFrame
            Increasing instants, at least a minute apart, not necessarily at full minutes.
        history : SignalFrame or None
            Minutes before `current` that the training did not see; the last hour is enough, the last week is better.

        Returns
        -------
        list of ScoredMinute
            In order. Minutes in which nothing was measured are left out: nothing is known about them.
        """
        if not len(current.ts):
            return []
        context = self._context(current, history)
        rows = minutes_of(current.ts) - context.first
        values = context.values[rows]
        normal = self._normal(context.values, rows)
        judged = self._judge(context.values, rows, values, normal)
        scores = shown(judged.host)
        return [
            self._minute(current.ts[i], float(scores[i]), self._evidence(values[i], normal[i], judged, i))
            for i in range(len(rows))
            if np.isfinite(values[i]).any()
        ]

    def _context(self, current: SignalFrame, history: SignalFrame | None) -> Timeline:
        """Return memory, history and current on one axis; what is older never overwrites `current`."""
        stored = SignalFrame(self.host, self._memory.frame(self.host).ts, SIGNALS, self._memory.values)
        frames = [frame for frame in (stored, history) if frame is not None]
        before = [_before(frame, current.ts[0]) for frame in frames]
        return joined([*before, current], days=MEMORY_DAYS + len(current.ts) // 1440 + 1)

    def _normal(self, context: Floats, rows: NDArray[np.int64]) -> Floats:
        if self._fitted is None:
            return np.vstack([_recent_baseline(context, int(row)) for row in rows])
        return self._fitted.profile.normal(context, rows)

    def _judge(self, context: Floats, rows: NDArray[np.int64], values: Floats, normal: Floats) -> _Judged:
        limit = limits.reached(values, normal)
        if self._fitted is None:
            zero = np.zeros(values.shape)
            host = np.minimum(limit.max(axis=1), _NEVER_CRITICAL)
            return _Judged(zero, effect(values, normal, falls=False), limit, host)
        limit[:, self._fitted.waived] = 0.0
        residuals = values - normal
        met = effect(values, normal, falls=self._fitted.profile.seasonal)
        surprise = _material(self._fitted.profile.surprise(residuals), met)
        joint = self._joint(context, rows, met)
        combined = np.maximum(surprise.max(axis=1), joint)
        host = np.minimum(combined, self._fitted.host_tail.surprise(combined))
        host = np.maximum(host, limit.max(axis=1))
        if self.state is not ModelState.READY:
            host = np.minimum(host, _NEVER_CRITICAL)
        return _Judged(surprise, met, limit, host)

    def _joint(self, context: Floats, rows: NDArray[np.int64], met: Floats) -> Floats:
        """Return the forest's s for the rows where several signals move at once; 0 elsewhere."""
        joint = np.zeros(len(rows))
        if self._fitted is None:
            return joint
        several = np.flatnonzero(np.clip(met, 0.0, 1.0).sum(axis=1) >= _JOINT_EFFECT)
        if len(several):
            features = np.vstack([self._window(context, int(row)) for row in rows[several]])
            strange = self._fitted.forest.strangeness(features)
            joint[several] = self._fitted.forest_tail.surprise(strange)
        return joint

    def _window(self, context: Floats, row: int) -> Floats:
        assert self._fitted is not None
        span = np.arange(max(row + 1 - CONTEXT_MINUTES, 0), row + 1)
        profile = self._fitted.profile
        deviations = profile.deviation(context[span] - profile.normal(context, span))
        return np.asarray(windowed(deviations)[-1])

    def _evidence(self, value: Floats, normal: Floats, judged: _Judged, row: int) -> Evidence:
        strength = np.maximum(judged.surprise[row], judged.limit[row])
        if self._fitted is None:
            unknown = np.full(len(SIGNALS), np.nan)
            deviation = (value - normal) / (10 * RESOLUTION)  # no spread is known: ten resolutions stand for it
            return Evidence(value, unknown, unknown, deviation, judged.effect[row], strength)
        profile = self._fitted.profile
        return Evidence(
            value=value,
            low=normal + profile.low,
            high=normal + profile.high,
            deviation=profile.deviation(value - normal),
            effect=judged.effect[row],
            strength=strength,
        )

    def _minute(self, ts: np.datetime64, score: float, evidence: Evidence) -> ScoredMinute:
        return ScoredMinute(
            host=self.host,
            ts=_aware(ts),
            score=score,
            state=self.state,
            model_version=self.version,
            contributions=contributions(evidence) if score >= EXPLAINED_FROM else (),
        )

    def save(self, directory: Path) -> None:
        """Write the detector's files into `directory`."""
        words: dict[str, Any] = {"host": self.host, "first": self._memory.first, "fitted": bool(self._fitted)}
        arrays: dict[str, NDArray[Any]] = {"memory": self._memory.values}
        if self._fitted is not None:
            words |= _words_of(self._fitted)
            arrays |= _arrays_of(self._fitted)
            self._fitted.forest.save(directory / "forest.skops")
        bundle.write_manifest(directory, "host-detector", words)
        bundle.write_arrays(directory / "arrays.npz", arrays)

    @classmethod
    def load(cls, directory: Path, version: str = UNREGISTERED) -> "HostDetector":
        """Read a detector.

        Raises
        ------
        ModelError
            If the files are not a detector of this format.
        """
        words = bundle.read_manifest(directory, "host-detector")
        arrays = bundle.read_arrays(directory / "arrays.npz")
        memory = Timeline(int(words["first"]), arrays["memory"])
        fitted = _fitted_from(words, arrays, directory) if words["fitted"] else None
        return cls(str(words["host"]), memory, fitted, version)


def _aware(ts: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(ts.astype("datetime64[s]").astype(np.int64)), tz=UTC)


def _before(frame: SignalFrame, ts: np.datetime64) -> SignalFrame:
    keep = frame.ts < ts
    return replace(frame, ts=frame.ts[keep], values=frame.values[keep])


def _recent_baseline(context: Floats, row: int) -> Floats:
    """Return the lower quartile of the hour before `row`; NaN for signals known in fewer than ten minutes of it.

    The quartile, not the median: a start-up burst is often most of what a young host has shown.
    """
    past = context[max(row - BASELINE_MINUTES, 0) : row]
    baseline = np.full(len(SIGNALS), np.nan)
    for column in range(len(SIGNALS)):
        known = past[np.isfinite(past[:, column]), column]
        if len(known) >= BASELINE_ROWS:
            baseline[column] = np.quantile(known, 0.25)
    return baseline


def _material(surprise: Floats, met: Floats) -> Floats:
    """Weigh surprise by effect: in full where the minimum effect is met, bounded below it."""
    return np.where(met >= 1.0, surprise, np.minimum(surprise * met, QUIET_CAP))


def _fit(memory: Timeline, seed: int) -> _Fitted:
    """Learn a host from its history; every score used for calibration was held out by day (or by eighth)."""
    state = state_of(memory)
    profile, held_out = Profile.fit(memory, state)
    rows = np.arange(len(memory))
    normal = profile.normal(memory.values, rows)
    deviations = profile.deviation(memory.values - normal)
    forest = HostForest.fit(deviations, seed=seed)
    strange = forest.strangeness(windowed(deviations))
    strange[~memory.measured] = np.nan
    decades = 1.0 if profile.seasonal else 0.0
    forest_tail = TailModel.fit(strange, resolution=0.01, decades=decades)
    met = effect(memory.values, normal, falls=profile.seasonal)
    several = np.clip(met, 0.0, 1.0).sum(axis=1) >= _JOINT_EFFECT
    joint = np.where(several, forest_tail.surprise(strange), 0.0)
    combined = np.maximum(_material(held_out, met).max(axis=1), joint)
    combined[~memory.measured] = np.nan
    host_tail = TailModel.fit(combined, resolution=0.1, decades=decades)
    waived = limits.waived(memory.values, normal) if profile.seasonal else np.zeros(len(SIGNALS), np.bool_)
    return _Fitted(profile, forest, forest_tail, host_tail, waived)


def _tail_words(tail: TailModel) -> dict[str, float]:
    return {"scale": tail.scale, "count": tail.count, "decades": tail.decades}


def _tail_from(words: Mapping[str, Any], quantiles: Floats) -> TailModel:
    return TailModel(quantiles, float(words["scale"]), int(words["count"]), float(words["decades"]))


def _words_of(fitted: _Fitted) -> dict[str, Any]:
    return {
        "seasonal": fitted.profile.seasonal,
        "tails": [_tail_words(tail) for tail in fitted.profile.tails],
        "forest_tail": _tail_words(fitted.forest_tail),
        "host_tail": _tail_words(fitted.host_tail),
    }


def _arrays_of(fitted: _Fitted) -> dict[str, NDArray[Any]]:
    profile = fitted.profile
    return {
        "typical": profile.typical,
        "scale": profile.scale,
        "low": profile.low,
        "high": profile.high,
        "waived": fitted.waived,
        "tail_quantiles": np.vstack([tail.quantiles for tail in profile.tails]),
        "forest_quantiles": fitted.forest_tail.quantiles,
        "host_quantiles": fitted.host_tail.quantiles,
        **{f"seen_{column}": seen for column, seen in enumerate(profile.seen)},
    }


def _fitted_from(words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], directory: Path) -> _Fitted:
    tails = tuple(_tail_from(one, arrays["tail_quantiles"][column]) for column, one in enumerate(words["tails"]))
    profile = Profile(
        typical=arrays["typical"],
        scale=arrays["scale"],
        low=arrays["low"],
        high=arrays["high"],
        seen=tuple(arrays[f"seen_{column}"] for column in range(len(SIGNALS))),
        tails=tails,
        seasonal=bool(words["seasonal"]),
    )
    return _Fitted(
        profile=profile,
        forest=HostForest.load(directory / "forest.skops"),
        forest_tail=_tail_from(words["forest_tail"], arrays["forest_quantiles"]),
        host_tail=_tail_from(words["host_tail"], arrays["host_quantiles"]),
        waived=arrays["waived"].astype(np.bool_),
    )


class TenantDetector:
    """All detectors of one tenant: the bundle that is registered.

    Attributes
    ----------
    detectors : dict of HostDetector by host
    version : str
        Of the registered bundle.
    """

    def __init__(self, detectors: Mapping[str, HostDetector], version: str = UNREGISTERED) -> None:
        self.detectors = dict(detectors)
        self.version = version

    @classmethod
    def fit(
        cls,
        frames: Mapping[str, Sequence[SignalFrame]],
        *,
        seed: int,
        mask: Mapping[str, Sequence[Window]] | None = None,
    ) -> "TenantDetector":
        """Learn every host from its frames; `mask` holds the windows of its incidents by host."""
        windows = mask or {}
        return cls(
            {
                host: HostDetector.fit(list(own), seed=seed, mask=windows.get(host, ()))
                for host, own in sorted(frames.items())
                if own
            }
        )

    def detector(self, host: str) -> HostDetector:
        """Return the host's detector; for an unknown host a fresh one that knows the physical limits."""
        known = self.detectors.get(host)
        return known if known is not None else HostDetector.untrained(host, self.version)

    def states(self) -> dict[str, ModelState]:
        """Return every host's state."""
        return {host: detector.state for host, detector in self.detectors.items()}

    def save(self, directory: Path) -> None:
        """Write the bundle: a manifest and one directory per host."""
        places = {host: f"host-{number}" for number, host in enumerate(sorted(self.detectors))}
        for host, place in places.items():
            self.detectors[host].save(directory / place)
        bundle.write_manifest(directory, KIND, {"hosts": places, "feature_set": VERSION})

    @classmethod
    def load(cls, directory: Path, version: str = UNREGISTERED) -> "TenantDetector":
        """Read a bundle.

        Raises
        ------
        ModelError
            If the directory holds no bundle of this kind.
        """
        places = bundle.read_manifest(directory, KIND)["hosts"]
        return cls({host: HostDetector.load(directory / place, version) for host, place in places.items()}, version)
