"""Online mixture of experts that never lets a bad one hurt: ML-Poly, at two memories.

Each expert's regret (how much better than the mixture it was, to first order) decides its share; an expert that is
worse than the mixture has none (Gaillard, Stoltz and van Erven 2014, "A second-order bound with excess losses"). The
loss is the absolute error. Regrets are forgotten over 100 rows, and never; the answer is the mean of the two.
Shares do not depend on the unit, and nothing is tuned per series.

Two things are ours. No single row counts for more than ten usual errors, so that one absurd value does not decide for
good; and an expert further than that from the mixture is judged by its own error, since to first order it would seem
good whenever it stands on the right side. Before any expert is ahead, the one in the middle speaks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.experts import MOST, median_of_known, trailing_median

MEMORIES: tuple[float, ...] = (0.99, 1.0)
"""What is left of a regret after one row."""
_LEAST = 1e-300
_MOST_ERRORS = 10.0
_REFRESHES_PER_PERIOD = 24


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the mixture would have said at every past origin.

    Attributes
    ----------
    share : shape (n, signals, steps, experts)
        Weights used at each origin; they sum to one, or are zero where nobody answered.
    said : shape (n, signals, steps)
        By origin.
    miss : shape (n, signals, steps)
        Actual minus said, by TARGET; NaN where either is unknown.
    """

    share: Floats
    said: Floats
    miss: Floats

    @classmethod
    def run(cls, values: Floats, answers: Floats, steps: tuple[int, ...], period: int) -> "Backtest":
        """Walk through the past once.

        Parameters
        ----------
        values : shape (n, signals)
        answers : shape (n, signals, steps, experts)
        steps : rising numbers of rows ahead
        period : int
            Rows of a day: what the usual error is taken over.
        """
        n, signals, horizons, experts = answers.shape
        columns = signals * horizons
        now = _Answers.of(answers.reshape(n, columns, experts))
        due = _Due.of(
            by_target(answers, steps).reshape(n, columns, experts), np.repeat(values, horizons, axis=1), period
        )
        table = _Regrets((len(MEMORIES), experts, columns))
        weights = np.empty((n, len(MEMORIES), experts, columns))
        parts = np.full((n, columns, len(MEMORIES)), np.nan)
        step_of, column, longest = np.tile(steps, signals), np.arange(columns), steps[-1]
        for row in range(n):
            said = parts[np.maximum(row - step_of, 0), column].T
            if row < longest:
                said[:, step_of > row] = np.nan
            table.learn(said - due.actual[row], due.theirs[row], due.known[row], due.most[row])
            table.weights(now.known[row], now.middle[row], weights[row])
            parts[row] = (weights[row] * now.value[row]).sum(axis=1).T
            if not now.all_answered:
                parts[row][~now.answered[row]] = np.nan
        said = parts.mean(axis=2).reshape(n, signals, horizons)
        share = np.swapaxes(weights.mean(axis=1), 1, 2).reshape(answers.shape)
        return cls(share, said, values[:, :, None] - by_target(said[..., None], steps)[..., 0])


@dataclass(frozen=True, slots=True)
class _Answers:
    """Answers by row, expert and column (a signal at a step), laid out for speed.

    Attributes
    ----------
    value : 0 where one is missing
    known : 1 or 0
    middle : shape (n, columns)
        The expert that says the (lower) median.
    answered : shape (n, columns)
        Whether anybody says anything.
    """

    value: Floats
    known: Floats
    middle: NDArray[np.int64]
    answered: NDArray[np.bool_]
    all_answered: bool

    @classmethod
    def of(cls, answers: Floats) -> "_Answers":
        """Take answers of shape (n, columns, experts)."""
        finite = np.isfinite(answers)
        order = np.argsort(answers, axis=-1)  # those that say nothing come last
        place = (np.maximum(finite.sum(axis=-1), 1) - 1) // 2
        middle = np.take_along_axis(order, place[..., None], axis=-1)[..., 0]
        value, known = (
            np.ascontiguousarray(np.swapaxes(one, 1, 2)) for one in (np.where(finite, answers, 0.0), finite)
        )
        answered = np.asarray(finite.any(axis=-1))
        return cls(value, known.astype(np.float64), middle, answered, bool(answered.all()))


@dataclass(frozen=True, slots=True)
class _Due:
    """What has come due at each row.

    Attributes
    ----------
    actual : shape (n, columns)
    theirs : shape (n, experts, columns)
        Signed errors of the experts; 0 where `known` is 0.
    most : shape (n, columns)
        What a single row may count.
    """

    actual: Floats
    theirs: Floats
    known: Floats
    most: Floats

    @classmethod
    def of(cls, arrived: Floats, actual: Floats, period: int) -> "_Due":
        """Take answers by target, shape (n, columns, experts), and what came, shape (n, columns)."""
        off = np.ascontiguousarray(np.swapaxes(arrived - actual[..., None], 1, 2))
        known = np.isfinite(off)
        error = median_of_known(np.swapaxes(np.abs(off), 0, 1))
        usual = trailing_median(error, period, max(period // _REFRESHES_PER_PERIOD, 1))
        most = np.where(usual > 0, _MOST_ERRORS * usual, MOST)
        return cls(actual, np.where(known, off, 0.0), known.astype(np.float64), most)


class _Regrets:
    """Sums of regrets and of their squares, by memory, expert and column."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._regret = np.zeros(shape)
        self._square = np.zeros(shape)
        self._forgotten = 1.0 - np.array(MEMORIES)[:, None]
        self._experts = np.arange(shape[1])[:, None]

    def learn(self, off: Floats, theirs: Floats, known: Floats, most: Floats) -> None:
        """Take in what has come due.

        Parameters
        ----------
        off : shape (memories, columns)
            The mixture's signed errors; NaN where there is none.
        theirs, known : shape (experts, columns)
        most : shape (columns,)
        """
        judged = np.isfinite(off)
        off = np.where(judged, off, 0.0)[:, None]
        regret = off - theirs  # what the mixture said minus what the expert did
        own = np.abs(off) - np.abs(theirs)
        np.minimum(np.maximum(own, -most, out=own), most, out=own)
        far = np.abs(regret) > most
        regret *= np.sign(off)
        np.copyto(regret, own, where=far)
        regret *= judged[:, None]
        regret *= known
        kept = (1.0 - self._forgotten * judged)[:, None]
        self._regret *= kept
        self._regret += regret
        self._square *= kept
        regret *= regret
        self._square += regret

    def weights(self, known: Floats, middle: NDArray[np.int64], into: Floats) -> None:
        """Write the shares of experts that answer; all to the one in the middle where none was better."""
        np.maximum(self._regret, 0.0, out=into)
        into *= known
        into /= self._square + _LEAST
        total = into.sum(axis=1, keepdims=True)
        if not total.all():
            undecided = total <= 0
            np.copyto(into, (self._experts == middle) * known, where=undecided)
            total[undecided] = 1.0
        into /= total


def mixed(answers: Floats, share: Floats) -> Floats:
    """Return the weighted answer; NaN where nobody answers."""
    result = (np.where(np.isfinite(answers), answers, 0.0) * share).sum(axis=-1)
    return np.where(share.sum(axis=-1) > 0, result, np.nan)


def answering(answers: Floats, share: Floats) -> Floats:
    """Return shares without those of experts that say nothing; alike among the others if nothing is left."""
    can = np.isfinite(answers)
    left = np.where(can, share, 0.0)
    left = np.where(left.sum(axis=-1, keepdims=True) > 0, left, can)
    total = left.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(left, total, out=np.zeros(left.shape), where=total > 0))


def by_target(by_origin: Floats, steps: tuple[int, ...]) -> Floats:
    """Shift forecasts from the row that said them to the row they speak of."""
    result = np.full(by_origin.shape, np.nan)
    for column, step in enumerate(steps):
        if step < len(by_origin):
            result[step:, :, column] = by_origin[:-step, :, column]
    return result
