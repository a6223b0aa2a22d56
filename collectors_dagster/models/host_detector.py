"""The anomaly detector: causal, per host, one setting for everybody.

Per signal: the value, and from two days on its distance from the same time of day; of each the novelty against the
whole history, turned into a tail probability, and both joined; then a minimum effect in the signal's own unit. Per
host: the largest of these and how far the signals are from moving together as they do, calibrated on the host's own
history so that fourteen signals do not mean fourteen times the alarms. Physical limits speak in every state.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.rolling import trailing
from collectors_dagster.features.timeline import DAY_MINUTES, EMPTY, Timeline, joined, minutes_of
from collectors_dagster.frames import Floats, SignalFrame
from collectors_dagster.models import bundle, limits
from collectors_dagster.models.acceptance import alerted, unlearned
from collectors_dagster.models.explain import Evidence, contributions
from collectors_dagster.models.host_model import HostModel, Judgement
from collectors_dagster.models.profile import Expectation, state_of
from collectors_dagster.models.signal_rules import RESOLUTION, effect
from collectors_dagster.models.tail import shown
from collectors_dagster.records import ModelState, ScoredMinute, Window

KIND = "host-detector-2"
UNREGISTERED = "unregistered"
MEMORY_DAYS = 14
BASELINE_MINUTES = 60
BASELINE_ROWS = 10
EXPLAINED_FROM = 0.5
"""Scores below this are unremarkable and carry no explanation."""
NEVER_CRITICAL = 3.6
"""Largest s (shown: 0.984) of a host that is not ready."""
_ALARMING = 2.0


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
    [0.0, 0.0, 0.96]
    """

    def __init__(self, host: str, memory: Timeline, model: HostModel | None, version: str = UNREGISTERED) -> None:
        self.host = host
        self.version = version
        self._memory = memory
        self._model = model
        self.state = state_of(memory)

    @classmethod
    def untrained(cls, host: str, version: str = UNREGISTERED) -> "HostDetector":
        """Return the detector of a host nobody knows: physical limits only."""
        return cls(host, EMPTY, None, version)

    @classmethod
    def fit(
        cls,
        frames: Sequence[SignalFrame],
        *,
        seed: int,
        mask: Sequence[Window] = (),
        normal: Sequence[Window] = (),
    ) -> "HostDetector":
        """Learn from the frames of one host.

        Parameters
        ----------
        frames : sequence of SignalFrame
            Minutes in any order, gaps allowed; the last 14 days count.
        seed : int
            Of the forest; the same data and seed give the same detector.
        mask : sequence of Window
            Incidents: their minutes are not learned, unless they keep coming back (see ``acceptance``). Minutes that a
            first fit finds alarming when it is judged without their day are left out in the same way.
        normal : sequence of Window
            Spans that a person called normal: they are learned, whatever `mask` or a first fit says of them.
        """
        host = frames[0].host if frames else ""
        everything = joined(frames, days=MEMORY_DAYS)
        everything = Timeline(everything.first, bundle.as_stored(everything.values))
        masked = [part for one in mask for part in one.without(normal)]
        memory = everything.without(unlearned(everything, masked))
        state = state_of(memory)
        if state is ModelState.LEARNING:
            return cls(host, memory, None)
        seasonal = state is ModelState.READY
        model, held_out = HostModel.fit(memory, seasonal=seasonal, seed=seed)
        found = alerted(memory, held_out, from_surprise=_ALARMING)
        own = [part for one in found for part in one.without(normal)]
        trimmed = everything.without(unlearned(everything, [*masked, *own]))
        if own and state_of(trimmed) is state:
            return cls(host, trimmed, HostModel.fit(trimmed, seasonal=seasonal, seed=seed)[0])
        return cls(host, memory, model)

    def update(
        self, frames: Sequence[SignalFrame], *, seed: int, mask: Sequence[Window] = (), normal: Sequence[Window] = ()
    ) -> "HostDetector":
        """Return the detector that has learned these frames too; arguments as for :meth:`fit`.

        What an earlier fit left out stays left out, unless the frames hold it again.
        """
        known = [self._memory.frame(self.host)] if len(self._memory) else []
        return self.fit([*known, *frames], seed=seed, mask=mask, normal=normal)

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
        expected = self._expected(context.values, rows)
        judged = self._judge(context.values, rows, expected)
        return [
            self._minute(current.ts[i], values[i], expected, judged, i)
            for i in range(len(rows))
            if np.isfinite(values[i]).any()
        ]

    def _context(self, current: SignalFrame, history: SignalFrame | None) -> Timeline:
        """Return memory, history and current on one axis; what is older never overwrites `current`."""
        frames = [frame for frame in (self._memory.frame(self.host), history) if frame is not None]
        before = [_before(frame, current.ts[0]) for frame in frames]
        return joined([*before, current], days=MEMORY_DAYS + len(current.ts) // DAY_MINUTES + 1)

    def _expected(self, context: Floats, rows: NDArray[np.int64]) -> Expectation:
        if self._model is not None:
            return self._model.profile.expectation(context, rows)
        normal = _recent_baseline(context, rows)
        unknown = np.full(normal.shape, np.nan)
        scale = np.broadcast_to(10 * RESOLUTION, normal.shape)  # no spread is known: ten resolutions stand for it
        return Expectation(normal, unknown, unknown, scale, np.zeros(normal.shape, dtype=np.bool_))

    def _judge(self, context: Floats, rows: NDArray[np.int64], expected: Expectation) -> Judgement:
        if self._model is not None:
            judged = self._model.judge(context, rows, expected)
            ready = expected.seasonal.any(axis=1)
            return replace(judged, host=np.where(ready, judged.host, np.minimum(judged.host, NEVER_CRITICAL)))
        values = context[rows]
        limit = limits.reached(values, expected.normal)
        met = effect(values, expected.normal, seasonal=expected.seasonal)
        return Judgement(limit, met, np.minimum(limit.max(axis=1), NEVER_CRITICAL))

    def _minute(
        self, ts: np.datetime64, value: Floats, expected: Expectation, judged: Judgement, row: int
    ) -> ScoredMinute:
        score = float(shown(judged.host[row]))
        causes = contributions(_evidence(value, expected, judged, row)) if score >= EXPLAINED_FROM else ()
        state = self.state
        if state is ModelState.READY and not expected.seasonal[row].any():
            state = ModelState.PROVISIONAL  # nothing is known of this time of day
        return ScoredMinute(self.host, _aware(ts), score, state, self.version, causes)

    def save(self, directory: Path) -> None:
        """Write the detector's files into `directory`."""
        words = {
            "host": self.host,
            "first": self._memory.first,
            "model": self._model.words() if self._model else None,
        }
        arrays = {"memory": self._memory.values}
        if self._model is not None:
            arrays |= self._model.arrays()
        bundle.write_manifest(directory, KIND, words)
        bundle.write_arrays(directory / "arrays.npz", arrays)

    @classmethod
    def load(cls, directory: Path, version: str = UNREGISTERED) -> "HostDetector":
        """Read a detector.

        Raises
        ------
        ModelError
            If the files are not a detector of this format.
        """
        words = bundle.read_manifest(directory, KIND)
        arrays = bundle.read_arrays(directory / "arrays.npz")
        memory = Timeline(int(words["first"]), arrays["memory"])
        model = HostModel.stored(words["model"], arrays) if words["model"] else None
        return cls(str(words["host"]), memory, model, version)


def _evidence(value: Floats, expected: Expectation, judged: Judgement, row: int) -> Evidence:
    return Evidence(
        value=value,
        low=expected.low[row],
        high=expected.high[row],
        deviation=(value - expected.normal[row]) / expected.scale[row],
        effect=judged.effect[row],
        strength=judged.strength[row],
    )


def _aware(ts: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(ts.astype("datetime64[s]").astype(np.int64)), tz=UTC)


def _before(frame: SignalFrame, ts: np.datetime64) -> SignalFrame:
    keep = frame.ts < ts
    return replace(frame, ts=frame.ts[keep], values=frame.values[keep])


def _recent_baseline(context: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the lower quartile of the hour before each row; NaN for signals known in fewer than ten minutes of it.

    The quartile, not the median: a start-up burst is often most of what a young host has shown.
    """
    start = max(int(rows[0]) - BASELINE_MINUTES, 0)
    before = trailing(context[start:], BASELINE_MINUTES + 1)[rows - start, :, :-1]
    ordered = np.sort(before, axis=2)  # NaN last
    known = np.isfinite(ordered).sum(axis=2)
    quartile = np.take_along_axis(ordered, (known // 4)[:, :, None], axis=2)[:, :, 0]
    return np.where(known >= BASELINE_ROWS, quartile, np.nan)
