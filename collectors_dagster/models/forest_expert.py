"""A Random Forest as one expert among others: it learns what is left of the damped seasonal forecast.

Alone it is worse than "as yesterday" a day ahead; in the mixture it cannot hurt. Its past predictions are honest:
each was made by a forest that had seen only what lay before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.experts import DAMP_FOREST, Views
from collectors_dagster.models.trees import Trees

TREES = 10
DEPTH = 8
LEAF = 5
FEATURES = 0.5
ROWS_PER_TREE = 0.5
MOST_ROWS = 4_032
"""Rows a forest learns from, the newest: four weeks of ten minutes."""
LEAST_PERIODS = 2
CUTS: tuple[float, ...] = (0.5,)
"""Parts of the past after which a forest is trained of what lay before."""
_LEAST_ROWS = 40
_WINSORISED = 0.01
_LEAST_UNIT = 1e-150
_MOST_UNITS = 1e30


@dataclass(frozen=True, slots=True)
class Ground:
    """What forests learn of: views of the past, where in the season each row lies, and the horizons in rows."""

    views: Views
    cell: NDArray[np.int64]
    steps: tuple[int, ...]

    def damped(self, signal: int) -> Floats:
        """Return the damped seasonal forecast at every origin and step; the last value where no season is known."""
        rows, level = np.arange(len(self.cell)), self.views.level[:, signal]
        said = [self.views.damped(self.views.week, rows, step, DAMP_FOREST)[:, signal] for step in self.steps]
        return np.column_stack([np.where(np.isfinite(one), one, level) for one in said])

    def inputs(self, signal: int) -> Floats:
        """Return the forest's view of every origin, relative to the last value; unknown parts are 0."""
        views, rows = self.views, np.arange(len(self.cell))
        level = views.level[:, signal]
        lags = [level[np.maximum(rows - lag, 0)] for lag in (1, 2, max(views.period // 24, 3), views.period)]
        steps = sorted({self.steps[0], self.steps[len(self.steps) // 2], self.steps[-1]})
        ahead = [views.season_ahead(rows, step)[:, signal] for step in steps]
        means = [views.fast, views.slow, views.day, views.three_days, views.week[: len(rows)]]
        known = [*lags, *ahead, *(one[:, signal] for one in means)]
        phase = 2 * np.pi * (self.cell % views.period) / views.period
        columns = [np.where(np.isfinite(one), one - level, 0.0) for one in known]
        return np.column_stack([level, *columns, np.sin(phase), np.cos(phase)])

    def targets(self, signal: int) -> Floats:
        """Return what the damped seasonal forecast missed at each step; NaN where not known yet."""
        said, missed = self.damped(signal), np.full((len(self.cell), len(self.steps)), np.nan)
        for column, step in enumerate(self.steps):
            if step < len(missed):
                missed[:-step, column] = self.views.values[step:, signal] - said[:-step, column]
        return missed


@dataclass(frozen=True, slots=True)
class Trained:
    """A forest, and the unit of what it was given and says: trees take differences below 1e-8 for none.

    Attributes
    ----------
    said : shape (trees, nodes, steps)
        What a leaf says of each step.
    """

    trees: Trees
    said: Floats
    unit: float

    def predict(self, inputs: Floats) -> Floats:
        """Return the answer where all inputs are known, shape (n, steps)."""
        result = np.full((len(inputs), self.said.shape[2]), np.nan)
        usable = np.isfinite(inputs).all(axis=1)
        result[usable] = self.trees.mean(_in_unit(inputs[usable], self.unit), self.said) * self.unit
        return result

    def words(self) -> dict[str, float]:
        """Return what goes to a JSON file."""
        return {"unit": self.unit, "depth": self.trees.depth}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        return {**self.trees.arrays(name), f"{name}_said": self.said}

    @classmethod
    def stored(cls, words: Mapping[str, float], arrays: Mapping[str, NDArray[Any]], name: str) -> "Trained":
        """Return the forest that :meth:`words` and :meth:`arrays` describe."""
        trees = Trees.stored(int(words["depth"]), arrays, name)
        return cls(trees, arrays[f"{name}_said"], float(words["unit"]))


def _in_unit(inputs: Floats, unit: float) -> Floats:
    """Return inputs in a unit of their own; the last two, the phase, have none. Trees hold them as 32 bits."""
    return np.column_stack([np.clip(inputs[:, :-2] / unit, -_MOST_UNITS, _MOST_UNITS), inputs[:, -2:]])


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

    forests: tuple[Trained | None, ...]
    first: int
    past: Floats

    @classmethod
    def fit(cls, ground: Ground, *, seed: int, cuts: Sequence[float] = CUTS) -> "ForestExpert":
        """Train on everything; predict the past after each cut by a forest of what lay before it."""
        signals = ground.views.values.shape[1]
        past = np.full((len(ground.cell), signals, len(ground.steps)), np.nan)
        forests = []
        for signal in range(signals):
            inputs, targets = ground.inputs(signal), ground.targets(signal)
            past[:, signal] = ground.damped(signal) + _in_time(inputs, targets, ground, seed, cuts)
            past[ground.views.resting[:, signal], signal] = np.nan
            forests.append(_trained(inputs, targets, ground, seed))
        return cls(tuple(forests), int(ground.cell[0]), past)

    def predictions(self, ground: Ground) -> Floats:
        """Return the forest's forecasts at all origins, shape (n, signals, steps); NaN where it has none."""
        cell = ground.cell
        result = np.full((len(cell), ground.views.values.shape[1], len(ground.steps)), np.nan)
        shared = np.intersect1d(cell, np.arange(self.first, self.first + len(self.past)))
        result[shared - cell[0]] = self.past[shared - self.first]
        newer = np.flatnonzero(cell >= self.first + len(self.past))
        for signal, forest in enumerate(self.forests):
            if forest is not None and len(newer):
                missed = forest.predict(ground.inputs(signal)[newer])
                result[newer, signal] = ground.damped(signal)[newer] + missed
                result[newer[ground.views.resting[newer, signal]], signal] = np.nan
        return result


def _trained(inputs: Floats, targets: Floats, ground: Ground, seed: int) -> Trained | None:
    """Return a forest of the newest rows that are complete, or None if they are few or less than a season."""
    rows = np.flatnonzero(np.isfinite(inputs).all(axis=1) & np.isfinite(targets).all(axis=1))[-MOST_ROWS:]
    if len(rows) < max(ground.views.period, _LEAST_ROWS):
        return None
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 - who only forecasts does not wait for it

    forest = RandomForestRegressor(
        n_estimators=TREES,
        max_depth=DEPTH,
        min_samples_leaf=LEAF,
        max_features=FEATURES,
        max_samples=ROWS_PER_TREE,
        random_state=seed,
        n_jobs=1,
    )
    low, high = np.quantile(targets[rows], (_WINSORISED, 1.0 - _WINSORISED), axis=0)
    wanted = np.clip(targets[rows], low, high)
    unit = float(np.abs(wanted).mean())
    if unit <= _LEAST_UNIT:
        return None  # the season says it all
    wanted = (wanted[:, 0] if wanted.shape[1] == 1 else wanted) / unit
    grown = [one.tree_ for one in forest.fit(_in_unit(inputs[rows], unit), wanted).estimators_]
    trees = Trees.of(grown)
    return Trained(trees, as_stored(trees.spread([tree.value[:, :, 0] for tree in grown])), unit)


def _in_time(inputs: Floats, targets: Floats, ground: Ground, seed: int, cuts: Sequence[float]) -> Floats:
    """Predict what follows each cut by a forest of what lay before it."""
    result = np.full(targets.shape, np.nan)
    starts = [int(cut * len(inputs)) for cut in cuts]
    for start, end in zip(starts, [*starts[1:], len(inputs)], strict=True):
        known_by_then = targets[:start].copy()
        for column, step in enumerate(ground.steps):
            known_by_then[max(start - step, 0) :, column] = np.nan
        forest = _trained(inputs[:start], known_by_then, ground, seed)
        if forest is not None and end > start:
            result[start:end] = forest.predict(inputs[start:end])
    return result
