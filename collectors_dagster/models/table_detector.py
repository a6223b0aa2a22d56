"""A table's rows, scored one after the other: one metric, or the many of one host.

Causal by construction: a row's score is settled before the next row is looked at, and a model in use was fitted to
rows before. One metric is judged by :class:`~collectors_dagster.models.series_detector.SeriesDetector`; a host by how
its metrics move together, once enough rows are known, and until then by its rarest metric.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite, log10

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.frames import Floats
from collectors_dagster.models.running_tail import RunningTail
from collectors_dagster.models.series_detector import ALARM, Judged, SeriesDetector
from collectors_dagster.models.tail import shown
from collectors_dagster.models.windowed_residual import CONTEXT_ROWS, WindowedResidual

FIRST_FIT_ROWS = 500
GROWTH = 1.5
"""A host's model is fitted again when there are so many times the rows."""
MEMORY_ROWS = 20_160
"""Rows a fit looks back on: fourteen days of minutes."""
ACCEPTED_SHARE = 0.5
"""If more of the rows since the last fit alarmed, they are the new normal and are learned."""
LEARNING_ROWS, READY_ROWS = 60, 500
MOST_NAMED = 3
CAP = 20.0
SEED = 0

STATES = ("missing", "learning", "provisional", "ready")
LEARNING = 1


@dataclass(frozen=True, slots=True)
class Cause:
    """A metric that made a row strange.

    Attributes
    ----------
    column : int
    value, expected : float
        What was there, and what is usual.
    deviation : float
        Distance in the metric's own robust or standard deviations, at most 20 either way.
    """

    column: int
    value: float
    expected: float
    deviation: float


@dataclass(frozen=True, slots=True)
class TableScores:
    """What is said of each row.

    Attributes
    ----------
    score : shape (n,)
        0..1: ``1 - 10**(-s/2)``, where 10**-s is how rare such a row is; 0.90 is one in a hundred.
    surprise : shape (n,)
        s by itself; a row that repeats an alarm keeps its surprise, while its score is small.
    state : shape (n,)
        Number of one of :data:`STATES`.
    causes : dict
        By row, of those that alarm.
    fits : int
        How often a host's model was fitted.
    """

    score: Floats
    surprise: Floats
    state: NDArray[np.int8]
    causes: dict[int, tuple[Cause, ...]] = field(default_factory=dict)
    fits: int = 0


def score_table(
    seconds: Floats, values: Floats, *, train_rows: int = 0, progress: Callable[[int], None] = lambda _: None
) -> TableScores:
    """Score all rows.

    Parameters
    ----------
    seconds : shape (n,)
        Instants, not decreasing.
    values : shape (n, m)
        NaN where nothing was measured.
    train_rows : int
        The first so many rows are only learned. For a host they are what its one model is fitted to, at least
        :data:`FIRST_FIT_ROWS`; without them it is fitted again and again as the table grows.
    progress : callable
        Told the number of rows done since it was told last.

    Raises
    ------
    InsufficientDataError
        If a host's model is to be fitted to too few rows.
    """
    if values.shape[1] == 1:
        return _score_series(seconds, values[:, 0], train_rows, progress)
    if 0 < train_rows < FIRST_FIT_ROWS:
        message = f"a host's model needs {FIRST_FIT_ROWS} rows to be fitted to, and there are {train_rows}"
        raise InsufficientDataError(message, required=FIRST_FIT_ROWS, available=train_rows)
    return _Host(seconds, values, progress).scores(train_rows)


def _score_series(seconds: Floats, values: Floats, train_rows: int, progress: Callable[[int], None]) -> TableScores:
    detector, rows = SeriesDetector(), len(values)
    alarm, surprise, state = np.zeros(rows), np.zeros(rows), np.zeros(rows, dtype=np.int8)
    causes: dict[int, tuple[Cause, ...]] = {}
    known = 0
    for row, (instant, value) in enumerate(zip(seconds.tolist(), values.tolist(), strict=True)):
        spread = detector.spread()
        judged = detector.judge(instant, value)
        if isfinite(value):
            known += 1
            if row < train_rows:
                state[row] = LEARNING
                continue
            alarm[row], surprise[row], state[row] = judged.alarm, judged.surprise, _state_of(known - 1)
            if judged.alarm >= ALARM:
                causes[row] = (_cause(value, judged, spread),)
        if row % 1000 == 999:
            progress(1000)
    progress(rows % 1000)
    return TableScores(shown(alarm), surprise, state, causes)


def _state_of(known: int) -> int:
    return 1 + (known >= LEARNING_ROWS) + (known >= READY_ROWS)


def _cause(value: float, judged: Judged, spread: float) -> Cause:
    deviation = (value - judged.normal) / spread if spread > 0 else CAP * np.sign(value - judged.normal)
    return Cause(0, value, judged.normal, float(np.clip(deviation, -CAP, CAP)))


class _Host:
    """The state of scoring a host's table."""

    def __init__(self, seconds: Floats, values: Floats, progress: Callable[[int], None]) -> None:
        self._seconds, self._values, self._progress = seconds, values, progress
        rows = len(values)
        self._known: NDArray[np.bool_] = np.asarray(np.isfinite(values).any(axis=1))
        self._surprise = np.zeros(rows)
        self._state = np.where(self._known, 1, 0).astype(np.int8)
        self._learned = np.ones(rows, dtype=np.bool_)
        self._causes: dict[int, tuple[Cause, ...]] = {}
        self._tail = RunningTail()

    def scores(self, train_rows: int) -> TableScores:
        """Score everything; with `train_rows`, all the others by one model."""
        rows, fits = len(self._values), 0
        done = min(train_rows or FIRST_FIT_ROWS, rows)
        if train_rows:
            self._progress(done)
        else:
            self._begin(done)
        while done < rows:
            upto = rows if train_rows else min(int(done * GROWTH), rows)
            model = self._fitted(done, max(MEMORY_ROWS, train_rows))
            fits += 1
            self._continue(model, done, upto)
            self._accept(done, upto)
            self._progress(upto - done)
            done = upto
        return TableScores(shown(self._surprise), self._surprise, self._state, self._causes, fits)

    def _begin(self, rows: int) -> None:
        """Score the first rows by their rarest metric, less what many metrics make likely."""
        columns = self._values.shape[1]
        allowance = log10(columns)
        detectors = [SeriesDetector() for _ in range(columns)]
        for row in range(rows):
            instant = float(self._seconds[row])
            judged = [
                detector.judge(instant, value)
                for detector, value in zip(detectors, self._values[row].tolist(), strict=True)
            ]
            self._surprise[row] = max(max(one.surprise for one in judged) - allowance, 0.0)
            if self._known[row]:
                self._state[row] = min(_state_of(row), 2)
        self._progress(rows)

    def _fitted(self, done: int, memory: int) -> WindowedResidual:
        """Fit to what was learned of the rows before, and know how strange these are."""
        first = max(done - memory, 0)
        keep = self._known[first:done] & self._learned[first:done]
        model = WindowedResidual.fit(self._values[first:done], keep, seed=SEED)
        self._tail = RunningTail()
        for strangeness in model.strangeness(self._values[first:done], np.flatnonzero(keep)).tolist():
            self._tail.add(strangeness)
        return model

    def _continue(self, model: WindowedResidual, done: int, upto: int) -> None:
        first = max(done - CONTEXT_ROWS, 0)
        strangeness = model.strangeness(self._values[first:upto], slice(done - first, None))
        for row, value in enumerate(strangeness.tolist(), start=done):
            if not self._known[row]:
                continue
            surprise = self._tail.surprise(value)
            self._surprise[row], self._state[row] = surprise, 3
            if surprise >= ALARM:
                self._causes[row] = self._explained(model, row)
            self._tail.add(value)

    def _accept(self, done: int, upto: int) -> None:
        """Keep alarms out of what is learned, unless they are most of what was seen."""
        alarmed = self._surprise[done:upto] >= ALARM
        if alarmed.mean() <= ACCEPTED_SHARE:
            self._learned[done:upto] = ~alarmed

    def _explained(self, model: WindowedResidual, row: int) -> tuple[Cause, ...]:
        deviation = np.nan_to_num(model.deviations(self._values[row]))
        order = np.argsort(-np.abs(deviation), kind="stable")[:MOST_NAMED]
        capped = np.clip(deviation, -CAP, CAP)
        return tuple(
            Cause(int(one), float(self._values[row, one]), float(model.centre[one]), float(capped[one]))
            for one in order
        )
