"""Samples of a load sifted: what cannot be right is left out and counted, the rest goes on. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats, Times
from collectors_dagster.integrations.timescale.packing import as_datetime64, microseconds
from collectors_dagster.integrations.timescale.refusals import Limits, Reason, Refusal, Tally
from collectors_dagster.integrations.timescale.series import LARGEST_VALUE, KnownSeries, wrong_unit
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey

Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]
NOBODY = "unknown"
"""Host of samples that belong to no series."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some samples of a window.

    Attributes
    ----------
    index : shape (n,)
        Position of each value's series among those of the load.
    ts : shape (n,), datetime64
        Ends of the intervals.
    values : shape (n,)
    """

    index: Integers
    ts: Times
    values: Floats

    def chosen(self, flags: Flags | Integers) -> "Piece":
        """Return some of the samples, by flag or by position."""
        return Piece(self.index[flags], self.ts[flags], self.values[flags])


@dataclass(frozen=True, slots=True)
class Rows:
    """Storable samples in the order of the table's index: by series, then by time (microseconds since 2000)."""

    series_ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def chosen(self, flags: Flags | slice) -> "Rows":
        """Return some of the rows, in their order."""
        return Rows(self.series_ids[flags], self.stamps[flags], self.values[flags])


@dataclass(frozen=True, slots=True)
class Scope:
    """What a load may hold.

    Attributes
    ----------
    origin : str
        The load's name: what has no series is booked under it.
    """

    origin: str
    window: Window
    limits: Limits


class Sieve:
    """Makes rows of pieces.

    Parameters
    ----------
    known : sequence of KnownSeries
        What the database knows of each of `series`.
    tally : Tally
        Counts what is left out.
    """

    def __init__(self, scope: Scope, series: Sequence[SeriesKey], known: Sequence[KnownSeries], tally: Tally) -> None:
        self._origin = scope.origin
        self._series = series
        self._hour = scope.window.start
        self._tally = tally
        self.doubted: set[int] = set()
        """Keys of series of which something was left out that had been measured."""
        self.ids = np.array([one.series_id for one in known], dtype=np.int64)
        self._places = {one.series_id: place for place, one in reversed(list(enumerate(known)))}
        wrong = np.array([wrong_unit(*pair) for pair in zip(series, known, strict=True)], dtype=np.bool_)
        self._faults = _faults(len(series), wrong, scope)

    def rows(self, piece: Piece) -> Rows:
        """Return what can be stored, sorted; of two values of a series at one time the first given stays."""
        for reason, find in self._faults:
            bad = find(piece)
            if bad.any():
                self._refuse(reason, piece.chosen(bad))
                piece = piece.chosen(~bad)
        rows = _sorted(self.ids[piece.index], microseconds(piece.ts), piece.values)
        again = np.zeros(len(rows), dtype=np.bool_)
        again[1:] = (rows.series_ids[1:] == rows.series_ids[:-1]) & (rows.stamps[1:] == rows.stamps[:-1])
        if not again.any():
            return rows
        for series_id, count in zip(*np.unique(rows.series_ids[again], return_counts=True), strict=True):
            self.refuse_doubles(int(series_id), int(count))
        return rows.chosen(~again)

    def refuse_doubles(self, series_id: int, samples: int) -> None:
        """Count values of a series at times at which there is one already."""
        series = self._series[self._places[series_id]]
        self._tally.add(
            Refusal(series.host, series.collector, self._hour, Reason.DUPLICATE, samples, f"{series.metric}: {samples}")
        )

    def _refuse(self, reason: Reason, piece: Piece) -> None:
        if reason is Reason.UNKNOWN_SERIES:
            said = _said(f"series number {piece.index[0]}", piece)
            self._tally.add(Refusal(NOBODY, self._origin, self._hour, reason, len(piece.values), said))
            return
        for place, first, count in zip(*np.unique(piece.index, return_index=True, return_counts=True), strict=True):
            series = self._series[place]
            if reason is not Reason.NAN:
                self.doubted.add(int(self.ids[place]))
            said = _said(series.metric, piece.chosen(np.arange(len(piece.values)) == first))
            self._tally.add(Refusal(series.host, series.collector, self._hour, reason, int(count), said))


_Fault = tuple[Reason, Callable[[Piece], Flags]]


def _faults(series: int, wrong_units: Flags, scope: Scope) -> tuple[_Fault, ...]:
    """Return what can be wrong and how it is found, each among what the ones before it left."""
    start, end = as_datetime64(scope.window.start), as_datetime64(scope.window.end)
    oldest, newest = as_datetime64(scope.limits.oldest), as_datetime64(scope.limits.newest)
    return (
        (Reason.UNKNOWN_SERIES, lambda piece: (piece.index < 0) | (piece.index >= series)),
        (Reason.WRONG_UNIT, lambda piece: wrong_units[piece.index] if wrong_units.any() else _none(piece)),
        (Reason.NAN, lambda piece: np.isnan(piece.values)),
        (Reason.INFINITE, lambda piece: np.isinf(piece.values)),
        (Reason.TOO_LARGE, lambda piece: np.abs(piece.values) > LARGEST_VALUE),
        (Reason.ANCIENT, lambda piece: ~(piece.ts >= oldest)),  # what is not a time at all is not later than anything
        (Reason.FUTURE, lambda piece: piece.ts > newest),
        (Reason.OUTSIDE, lambda piece: (piece.ts <= start) | (piece.ts > end)),
    )


def _none(piece: Piece) -> Flags:
    return np.zeros(len(piece.values), dtype=np.bool_)


def _sorted(series_ids: NDArray[np.int64], stamps: NDArray[np.int64], values: Floats) -> Rows:
    if _ascending(series_ids, stamps):
        return Rows(series_ids, stamps, values)
    order = np.lexsort((stamps, series_ids))
    return Rows(series_ids[order], stamps[order], values[order])


def _ascending(series_ids: NDArray[np.int64], stamps: NDArray[np.int64]) -> bool:
    """Say whether rows are sorted already, as whoever reads a series after the other has them."""
    ahead = series_ids[1:] > series_ids[:-1]
    return bool((ahead | ((series_ids[1:] == series_ids[:-1]) & (stamps[1:] >= stamps[:-1]))).all())


def _said(name: str, piece: Piece) -> str:
    return f"{name} = {piece.values[0]:g} at {piece.ts[0].astype('datetime64[s]')}"
