"""A window of samples made exactly what its sources say, in pieces: memory stays bounded whatever the window's size.

Of a piece that holds all that a load has of its series, the store is asked first what it has of them: series that are
the same already are left alone, so that doing a load again costs little more than reading it, and compressed rows stay
compressed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from psycopg.errors import UniqueViolation

from collectors_dagster.integrations.timescale.database import Cursor
from collectors_dagster.integrations.timescale.fingerprint import Fingerprint
from collectors_dagster.integrations.timescale.packing import HEADER, TRAILER, Column, copy_blocks
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.sifting import Flags, Integers, Piece, Rows, Sieve
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey

QUERIES = load_queries("loading")

BLOCK_ROWS = 32_768
_SENT_ROWS = 8_192
"""Rows that are sent at once: while the server takes some, we prepare the next."""
_FEW = 4
"""A series is corrected value by value if a fourth of it differs at most."""
_RECORD = np.dtype([("stamp", ">i8"), ("value", ">f8")])


@dataclass(frozen=True, slots=True)
class Portion:
    """A piece, and whose it is.

    Attributes
    ----------
    places : sequence of int
        Of these series the load has all its samples in this piece; empty if that cannot be said of any.
    """

    piece: Piece
    places: Sequence[int] = ()


def portions(piece: Piece, series: int, most_rows: int) -> tuple[list[int], Iterator[Portion]]:
    """Cut arrays into portions of about so many rows, series by series.

    Returns
    -------
    whole : list of int
        The series that lie in one portion each; one that is too large for that is cut by itself.
    portions : iterator of Portion
    """
    if len(piece.values) <= most_rows:
        return list(range(series)), iter([Portion(piece, range(series))])
    counts = sum(
        (np.bincount(places, minlength=series + 1) for places in _places(piece, series)),
        start=np.zeros(series + 1, dtype=np.int64),
    )
    large = counts > most_rows
    large[series] = False  # what is of no series is refused, in whichever portion
    group = np.minimum(np.cumsum(np.where(large, 0, counts)) // most_rows, 2**15 - 1).astype(np.int16)
    group[large] = -1 - np.arange(int(large.sum())) % 2**15
    return [int(place) for place in np.flatnonzero(~large[:series])], _cut(piece, group, most_rows)


def slices(piece: Piece, most_rows: int) -> Iterator[Portion]:
    """Cut a piece that came from elsewhere, whatever its size."""
    for start in range(0, len(piece.values), most_rows):
        part = slice(start, start + most_rows)
        yield Portion(Piece(piece.index[part], piece.ts[part], piece.values[part]))


def _places(piece: Piece, series: int) -> Iterator[Integers]:
    """Yield the positions of the rows' series block by block, `series` for what is of none."""
    for start in range(0, len(piece.index), BLOCK_ROWS):
        index = piece.index[start : start + BLOCK_ROWS]
        yield np.where((index >= 0) & (index < series), index, series)


def _cut(piece: Piece, group: Integers, most_rows: int) -> Iterator[Portion]:
    series = len(group) - 1
    of_row = np.concatenate([group[places] for places in _places(piece, series)])
    for number in np.unique(group):
        mine = np.flatnonzero(of_row == number)
        if number < 0:
            yield from slices(piece.chosen(mine), most_rows)
        else:
            places = [int(place) for place in np.flatnonzero(group[:series] == number)]
            yield Portion(piece.chosen(mine), places)


class Load:
    """One load, within the caller's transaction.

    Parameters
    ----------
    make_room : callable
        Told the days of the rows before they are copied.
    """

    def __init__(
        self,
        cursor: Cursor,
        tenant_key: int,
        window: Window,
        sieve: Sieve,
        make_room: Callable[[Cursor, Iterable[datetime]], None],
    ) -> None:
        self._cursor = cursor
        self._tenant_key = tenant_key
        self._scope = {"tenant_key": tenant_key, "start": window.start, "end": window.end}
        self._sieve = sieve
        self._make_room = make_room
        self._fingerprint = Fingerprint()
        self.rows = 0

    @property
    def checksum(self) -> str:
        """Checksum of all rows, in whatever order."""
        return self._fingerprint.hexdigest()

    def begin(self, dataset: str) -> None:
        """Wait until no other load of the tenant's dataset runs, and keep others waiting."""
        self._cursor.execute(QUERIES["lock"], {"dataset": dataset, "tenant_key": self._tenant_key})

    def empty(self, series: Sequence[SeriesKey], *, leave: Sequence[int]) -> None:
        """Delete the window of all series of these sources, but of some whose portions will tell."""
        sources = sorted({(one.host, one.collector) for one in series})
        wanted = {
            "tenant_key": self._tenant_key,
            "hosts": [host for host, _ in sources],
            "collectors": [collector for _, collector in sources],
        }
        left = set(self._sieve.ids[list(leave)].tolist())
        found = self._cursor.execute(QUERIES["series_of"], wanted).fetchall()
        self._delete([series_id for (series_id,) in found if series_id not in left])

    def add(self, portion: Portion) -> None:
        """Store a portion."""
        rows = self._sieve.rows(portion.piece)
        summing = self._summed(rows)
        self.rows += len(rows)
        if portion.places:
            rows = self._changed(rows, self._sieve.ids[list(portion.places)].tolist())
        if len(rows):
            self._make_room(self._cursor, _days(rows))
            self._copy(rows, summing)
        deque(summing, maxlen=0)

    def _summed(self, rows: Rows) -> Iterator[None]:
        """Take rows into the checksum step by step, which is done while the server is busy."""
        for start in range(0, len(rows), _SENT_ROWS):
            block = rows.chosen(slice(start, start + _SENT_ROWS))
            self._fingerprint.add(block.series_ids, block.stamps, block.values)
            yield

    def _changed(self, rows: Rows, series_ids: list[int]) -> Rows:
        """Delete what should not be there of these series; return the rows that are not there.

        A series of which nothing but faults came stays as it was.
        """
        stored = self._read(series_ids)
        if not stored:
            return rows
        given = {key: _records(part) for key, part in _by_series(rows)}
        wrong = [key for key in stored if key not in given and key not in self._sieve.doubted]
        missing = np.ones(len(rows), dtype=np.bool_)
        for key in stored.keys() & given.keys():
            part = slice(*np.searchsorted(rows.series_ids, (key, key + 1)))
            few = self._corrected(key, stored[key], given[key])
            if few is None:  # written anew, which is quicker than one value after the other
                wrong.append(key)
            else:
                missing[part] = few
        self._delete(wrong)
        return rows.chosen(missing)

    def _read(self, series_ids: list[int]) -> dict[int, bytes]:
        if not series_ids:
            return {}
        wanted = {**self._scope, "series_ids": series_ids}
        return dict(self._cursor.execute(QUERIES["contents"], wanted, prepare=False).fetchall())

    def _corrected(self, series_id: int, content: bytes, given: NDArray[np.void]) -> Flags | None:
        """Delete the few values that are stored of a series and were not given; return which given ones are missing.

        None, and nothing is deleted, if they are many.
        """
        if content == given.tobytes():
            return np.zeros(len(given), dtype=np.bool_)
        stored = np.frombuffer(content, dtype=_RECORD)
        wrong, missing = _differences(stored, given)
        if (wrong.sum() + missing.sum()) * _FEW > len(stored):
            return None
        instants = [_instant(stamp) for stamp in stored["stamp"][wrong]]
        if instants:
            wanted = {
                "tenant_key": self._tenant_key,
                "series_id": series_id,
                "instants": instants,
                "first": instants[0],
                "last": instants[-1],
            }
            self._cursor.execute(QUERIES["delete_instants"], wanted, prepare=False)
        return missing

    def _delete(self, series_ids: Sequence[int]) -> None:
        if series_ids:
            wanted = {**self._scope, "series_ids": list(series_ids)}
            self._cursor.execute(QUERIES["delete_window"], wanted, prepare=False)

    def _copy(self, rows: Rows, meanwhile: Iterator[None]) -> None:
        """Copy rows at once; where some are stored already, block by block, and those one by one."""
        if self._copied(rows, meanwhile):
            return
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows.chosen(slice(start, start + BLOCK_ROWS))
            if not self._copied(block, meanwhile):
                self._insert_new(block)

    def _copied(self, rows: Rows, meanwhile: Iterator[None]) -> bool:
        columns: list[Column] = [
            (">i4", self._tenant_key),
            (">i4", rows.series_ids),
            (">i8", rows.stamps),
            (">f8", rows.values),
        ]
        try:
            with self._cursor.connection.transaction(), self._cursor.copy(QUERIES["copy"]) as copy:
                copy.write(HEADER)
                for block in copy_blocks(columns, len(rows), _SENT_ROWS):
                    copy.write(block)
                    next(meanwhile, None)
                copy.write(TRAILER)
        except UniqueViolation:
            return False
        return True

    def _insert_new(self, rows: Rows) -> None:
        """Add what is not there; the rest came in an earlier piece, or from an agent in this very moment."""
        wanted: Mapping[str, object] = {
            "tenant_key": self._tenant_key,
            "series_ids": rows.series_ids.tolist(),
            "stamps": rows.stamps.tolist(),
            "values": rows.values.tolist(),
        }
        added: dict[int, int] = dict(self._cursor.execute(QUERIES["insert_new"], wanted).fetchall())
        for series_id, sent in zip(*np.unique(rows.series_ids, return_counts=True), strict=True):
            double = int(sent) - added.get(int(series_id), 0)
            if double:
                self.rows -= double
                self._sieve.refuse_doubles(int(series_id), double)


def _by_series(rows: Rows) -> Iterator[tuple[int, Rows]]:
    series_ids, firsts = np.unique(rows.series_ids, return_index=True)
    for series_id, first, end in zip(series_ids, firsts, np.append(firsts, len(rows))[1:], strict=True):
        yield int(series_id), rows.chosen(slice(first, end))


def _records(rows: Rows) -> NDArray[np.void]:
    """Return one series' rows as the database packs them."""
    records = np.empty(len(rows), dtype=_RECORD)
    records["stamp"], records["value"] = rows.stamps, rows.values
    return records


def _differences(stored: NDArray[np.void], given: NDArray[np.void]) -> tuple[Flags, Flags]:
    """Return which records are only stored, and which are only given; times are unique in both."""
    _, left, right = np.intersect1d(stored["stamp"], given["stamp"], assume_unique=True, return_indices=True)
    equal = stored["value"].view(">i8")[left] == given["value"].view(">i8")[right]  # bit by bit: there are two zeros
    only_stored, only_given = np.ones(len(stored), dtype=np.bool_), np.ones(len(given), dtype=np.bool_)
    only_stored[left[equal]] = only_given[right[equal]] = False
    return only_stored, only_given


def _instant(stamp: np.integer) -> datetime:
    """Return a time of PostgreSQL, microseconds since 2000, as it is given back to it."""
    since: timedelta = np.timedelta64(int(stamp), "us").astype(timedelta)
    return datetime(2000, 1, 1, tzinfo=UTC) + since


def _days(rows: Rows) -> list[datetime]:
    """Return the first instants of the UTC days that the rows touch."""
    day = 86_400_000_000
    return [_instant(number * day) for number in np.unique(rows.stamps // day)]
