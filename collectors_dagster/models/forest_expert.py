"""A Random Forest as one expert among others: it learns what is left of the damped seasonal forecast.

Alone it is worse than "as yesterday" a day ahead; in the mixture it can only help. Its past predictions are honest:
each was made by a forest that had seen only what lay before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.cells import DAY_CELLS
from collectors_dagster.models.experts import DAMP_FOREST, Views

STEPS: tuple[int, ...] = (1, 3, 6, 12, 36, 72, 144)
"""Horizons of the mixture in cells: 10 min, 30 min, 1 h, 2 h, 6 h, 12 h, 1 d."""
TREES = 20
DEPTH = 8
LEAF = 5
MIN_CELLS = 2 * DAY_CELLS


def _inputs(views: Views, cell: NDArray[np.int64], signal: int) -> Floats:
    """Return the forest's view of every origin; unknown parts are the last value."""
    level = views.level[:, signal]
    rows = np.arange(len(level))
    lags = [level[np.maximum(rows - lag, 0)] for lag in (1, 6, DAY_CELLS)]
    ahead = [views.season[rows + step, signal] for step in (0, 6, 36)]
    phase = 2 * np.pi * (cell % DAY_CELLS) / DAY_CELLS
    known = [level, views.fast[:, signal], views.slow[:, signal], views.mean[:, signal], *lags, *ahead]
    columns = [np.where(np.isfinite(one), one, level) for one in known]
    return np.column_stack([*columns, np.sin(phase), np.cos(phase)])


def _targets(views: Views, signal: int) -> Floats:
    """Return what the damped seasonal forecast will miss at each step; NaN where not known yet."""
    rows = np.arange(len(views.values))
    missed = np.full((len(rows), len(STEPS)), np.nan)
    for column, step in enumerate(STEPS):
        said = views.damped(rows, step, DAMP_FOREST)[:, signal]
        missed[: len(rows) - step, column] = views.values[step:, signal] - said[: len(rows) - step]
    return missed


@dataclass(frozen=True, slots=True)
class ForestExpert:
    """One forest per signal (None where there was too little to learn).

    Attributes
    ----------
    forests : one per signal
    first : int
        Cell number of row 0 of `past`.
    past : shape (n, signals, steps)
        Predictions made in time, for the cells of the training; NaN where no forest existed yet.
    """

    forests: tuple[RandomForestRegressor | None, ...]
    first: int
    past: Floats

    @classmethod
    def fit(cls, views: Views, cell: NDArray[np.int64], *, seed: int) -> "ForestExpert":
        """Train on everything; predict the second half of the past by forests of what lay before."""
        signals = views.values.shape[1]
        past = np.full((len(cell), signals, len(STEPS)), np.nan)
        forests = []
        for signal in range(signals):
            inputs, targets = _inputs(views, cell, signal), _targets(views, signal)
            said = np.stack([views.damped(np.arange(len(cell)), s, DAMP_FOREST)[:, signal] for s in STEPS], 1)
            past[:, signal] = said + _in_time(inputs, targets, seed)
            forests.append(_trained(inputs, targets, seed))
        return cls(tuple(forests), int(cell[0]), as_stored(past))

    def predictions(self, views: Views, cell: NDArray[np.int64]) -> Floats:
        """Return the forest's forecasts at all origins, shape (n, signals, steps); NaN where it has none."""
        result = np.full((len(cell), views.values.shape[1], len(STEPS)), np.nan)
        shared = np.intersect1d(cell, np.arange(self.first, self.first + len(self.past)))
        result[shared - cell[0]] = self.past[shared - self.first]
        newer = np.flatnonzero(cell >= self.first + len(self.past))
        for signal, forest in enumerate(self.forests):
            if forest is not None and len(newer):
                result[newer, signal] = self._new(forest, views, cell, newer, signal)
        return result

    @staticmethod
    def _new(
        forest: RandomForestRegressor,
        views: Views,
        cell: NDArray[np.int64],
        rows: NDArray[np.int64],
        signal: int,
    ) -> Floats:
        said = np.stack([views.damped(rows, step, DAMP_FOREST)[:, signal] for step in STEPS], axis=1)
        inputs = _inputs(views, cell, signal)[rows]
        result = np.full(said.shape, np.nan)
        usable = np.isfinite(inputs).all(axis=1)
        if usable.any():
            result[usable] = said[usable] + _predict(forest, inputs[usable])
        return result


def _trained(inputs: Floats, targets: Floats, seed: int) -> RandomForestRegressor | None:
    """Return a forest of the rows that are complete, or None if they span less than a day."""
    rows = np.isfinite(inputs).all(axis=1) & np.isfinite(targets).all(axis=1)
    if rows.sum() < DAY_CELLS:
        return None
    forest = RandomForestRegressor(
        n_estimators=TREES, max_depth=DEPTH, min_samples_leaf=LEAF, random_state=seed, n_jobs=1
    )
    return forest.fit(inputs[rows], targets[rows])


def _in_time(inputs: Floats, targets: Floats, seed: int) -> Floats:
    """Predict the third quarter by a forest of the first half, the fourth by one of the first three."""
    result = np.full(targets.shape, np.nan)
    n = len(inputs)
    for start, end in ((n // 2, 3 * n // 4), (3 * n // 4, n)):
        known_by_then = targets[:start].copy()
        for column, step in enumerate(STEPS):
            known_by_then[max(start - step, 0) :, column] = np.nan
        forest = _trained(inputs[:start], known_by_then, seed)
        usable = np.isfinite(inputs[start:end]).all(axis=1)
        if forest is not None and usable.any():
            result[np.flatnonzero(usable) + start] = _predict(forest, inputs[start:end][usable])
    return result


def _predict(forest: RandomForestRegressor, inputs: Floats) -> Floats:
    return np.asarray(forest.predict(inputs))
