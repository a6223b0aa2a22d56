"""A tenant's series at any resolution: as arrays, or in blocks of bounded size. There is no other way to read them.

Times are named in one of two ways. By their start, as calendars do and all stored aggregates: a window holds what lies
in ``[start, end)``. By their end, as the models do, because a sample's own time is the end of the interval it stands
for: a window holds what lies in ``(start, end]``.
"""

import struct
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import SeriesRows, Times
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.packing import EPOCH, HEADER
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.series import labels_from
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window
from collectors_dagster.samples import Kind, SeriesKey

QUERIES = load_queries("reading")

BLOCK_ROWS = 131_072
"""Rows of a block, at most."""
SERIES_AT_ONCE = 2_000
"""Series of one statement: the server sorts no more than a slice of time of these."""
MOST_NAMED = 50_000
"""Series that a reader remembers."""
_MEAN = (("avg", ">f8"), ("min", ">f8"), ("max", ">f8"), ("count", ">i8"))
_QUANTILES = (("p50", ">f8"), ("p95", ">f8"), ("p99", ">f8"), ("count", ">i8"))


_HEAD = struct.Struct(">hiii")
"""What stands before the packed rows of a series: two fields; the first's size, and it; the second's size."""
_Piece = tuple[int, bytes]


class Resolution(StrEnum):
    """How fine."""

    RAW = "raw"
    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def width(self) -> timedelta | None:
        """Length of a bucket; None for samples."""
        return _LEVELS[self].width

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers in each row, unless quantiles are asked for."""
        return tuple(name for name, _ in _LEVELS[self].columns)


class Edge(StrEnum):
    """Which edge of a bucket is its name and belongs to it."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Level:
    """How one resolution is read.

    Attributes
    ----------
    slice : timedelta
        How much time one statement covers of :data:`SERIES_AT_ONCE` series.
    longest : int
        How many times as much of few series: a statement that is planned costs milliseconds, and the server holds
        what it sends of one series.
    """

    query: bytes
    columns: tuple[tuple[str, str], ...]
    width: timedelta | None
    slice: timedelta
    longest: int = 1


_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
"""The server's times are whole microseconds."""
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Stored buckets are counted from here."""
_LEVELS = {
    Resolution.RAW: _Level(QUERIES["raw"], (("value", ">f8"),), None, _DAY),
    Resolution.MINUTE: _Level(QUERIES["minute"], _MEAN, timedelta(minutes=1), _DAY, 31),
    Resolution.HOUR: _Level(QUERIES["hour"], _MEAN, timedelta(hours=1), 31 * _DAY, 24),
    Resolution.DAY: _Level(QUERIES["day"], _MEAN, _DAY, 366 * _DAY, 24),
}
_QUANTILE_LEVELS = {
    Resolution.HOUR: _Level(QUERIES["hour_quantiles"], _QUANTILES, timedelta(hours=1), 31 * _DAY, 24),
    Resolution.DAY: _Level(QUERIES["day_quantiles"], _QUANTILES, _DAY, 366 * _DAY, 24),
}


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of some series.

    Attributes
    ----------
    series_id : shape (n,)
        Keys of :attr:`Selection.series`.
    ts : shape (n,), datetime64[us]
        Times of samples, starts of buckets, UTC.
    numbers : mapping
        An array of shape (n,) for each of the resolution's columns.
    """

    series_id: NDArray[np.int32]
    ts: Times
    numbers: Mapping[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose series, of which metrics and hosts (None: all), when, how fine.

    Attributes
    ----------
    edge : Edge
        With ``END`` the window may end at any instant, and minutes are counted back from it.
    quantiles : bool
        Instead of mean, least and greatest: the median, and what 95 % and 99 % of the samples do not exceed, each
        within 1 % of its value; of hours and days of metrics that are chosen for it (``aggregates.quantile_metrics``).
    """

    tenant_id: str
    window: Window
    resolution: Resolution = Resolution.RAW
    metrics: Sequence[str] | None = None
    hosts: Sequence[str] | None = None
    edge: Edge = Edge.START
    quantiles: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers in each row."""
        return tuple(name for name, _ in _level(self).columns)


@dataclass(frozen=True, slots=True)
class Reading:
    """One state of the database: the selected series, and their rows while the reading is open.

    Attributes
    ----------
    series : mapping
        By the keys in :attr:`Block.series_id`.
    blocks : iterator
        Each at most :data:`BLOCK_ROWS` rows. Within a slice of time (a day of samples) rows come by series
        and time.
    """

    series: Mapping[int, SeriesKey]
    blocks: Iterator[Block]


class SeriesReader:
    """``core.sample``, ``core.sample_1h`` and ``core.sample_1d``.

    Parameters
    ----------
    most_named : int
        Series whose names are remembered.
    """

    def __init__(self, database: Database, tenants: TenantTable, most_named: int = MOST_NAMED) -> None:
        self._database = database
        self._tenants = tenants
        self._most_named = most_named
        self._named: dict[int, SeriesKey] = {}
        """Names never change, so that what was read once need not be asked for again."""

    def read(self, selection: Selection) -> list[SeriesRows]:
        """Return the whole selection as arrays, by host, metric, labels and collector; series without rows are absent.

        For windows that fit into memory: a row takes some 50 bytes.

        Raises
        ------
        ConfigurationError
            As :meth:`open` does.
        """
        _refuse_broken(selection)
        if selection.window.end - selection.window.start <= _level(selection).slice:
            return self._read_at_once(selection)
        with self._opened(selection, patient=False) as reading:
            return _gathered(list(reading.blocks), reading.series, selection.columns)

    @contextmanager
    def open(self, selection: Selection) -> Iterator[Reading]:
        """Yield a reading; its blocks end with the block of code.

        Memory is bounded by one block and the list of series, whatever the window.

        Raises
        ------
        ConfigurationError
            If the window is empty, does not consist of whole buckets, or hours and days are asked for by their end.
        """
        _refuse_broken(selection)
        with self._opened(selection, patient=True) as reading:
            yield reading

    def _read_at_once(self, selection: Selection) -> list[SeriesRows]:
        """Read a slice of time by one statement, which sees one state of the database and finds the series itself.

        A dashboard's hour is a millisecond's work: a transaction around it, and a question for the series, would
        take as long again.
        """
        key = self._tenants.key(selection.tenant_id)
        span = _span(selection)
        wanted = {**span.scope, **_chosen(key, selection), "start": span.window.start, "end": span.window.end}
        with self._database.statements(f"read the series of tenant {selection.tenant_id!r}") as cursor:
            blocks = list(_copied(cursor, _finding(span.level), wanted, span.name))
            found = {int(series_id) for block in blocks for series_id in np.unique(block.series_id)}
            names = self._names(cursor, key, found)
        return _gathered(blocks, names, selection.columns)

    def _names(self, cursor: Cursor, tenant_key: int, series_ids: Collection[int]) -> Mapping[int, SeriesKey]:
        known = {series_id: self._named[series_id] for series_id in series_ids if series_id in self._named}
        new = [series_id for series_id in series_ids if series_id not in known]
        if new:
            known |= _series(cursor, "named", {"tenant_key": tenant_key, "series_ids": new})
            if len(self._named) + len(new) > self._most_named:
                self._named = {}
            if len(known) <= self._most_named:
                self._named |= known
        return known

    @contextmanager
    def _opened(self, selection: Selection, *, patient: bool) -> Iterator[Reading]:
        key = self._tenants.key(selection.tenant_id)
        with self._database.snapshot(f"read the series of tenant {selection.tenant_id!r}") as cursor:
            if patient:
                cursor.execute(QUERIES["patience"])
            series = _series(cursor, "series", _chosen(key, selection))
            # Closed at the end: a COPY in the middle is cancelled before the transaction ends.
            with closing(_blocks(cursor, key, selection, sorted(series))) as blocks:
                yield Reading(series, blocks)


def _level(selection: Selection) -> _Level:
    if not selection.quantiles:
        return _LEVELS[selection.resolution]
    if selection.resolution not in _QUANTILE_LEVELS:
        raise ConfigurationError(
            f"quantiles are known of 1h and 1d, not of {selection.resolution}: ask for one of these"
        )
    return _QUANTILE_LEVELS[selection.resolution]


def _refuse_broken(selection: Selection) -> None:
    window, width = selection.window, selection.resolution.width
    said = f"{window.start.isoformat()} to {window.end.isoformat()}"
    if window.start >= window.end:
        raise ConfigurationError(f"the window {said} is empty: it must end after it starts")
    if selection.edge is Edge.END and selection.resolution in {Resolution.HOUR, Resolution.DAY}:
        raise ConfigurationError(f"buckets of {selection.resolution} are stored by their start: ask for them so")
    _level(selection)
    origin = _ORIGIN if selection.edge is Edge.START else window.end
    if width and ((window.start - origin) % width or (window.end - origin) % width):
        raise ConfigurationError(
            f"the window {said} cuts a bucket of {selection.resolution}: choose times that are whole buckets, in UTC"
        )


def _chosen(tenant_key: int, selection: Selection) -> dict[str, object]:
    return {
        "tenant_key": tenant_key,
        "metrics": None if selection.metrics is None else list(selection.metrics),
        "hosts": None if selection.hosts is None else list(selection.hosts),
    }


def _series(cursor: Cursor, query: str, wanted: Mapping[str, object]) -> dict[int, SeriesKey]:
    return {
        series_id: SeriesKey(host, collector, metric, labels_from(labels), unit, Kind(kind))
        for series_id, host, collector, metric, labels, unit, kind in cursor.execute(QUERIES[query], wanted)
    }


def _finding(level: _Level) -> _Level:
    """Return a level whose statement finds the series by metrics and hosts, instead of being given their keys."""
    return replace(level, query=level.query.replace(b"%(series_ids)s::integer[]", b"array(" + QUERIES["keys"] + b")"))


@dataclass(frozen=True, slots=True)
class _Span:
    """What the statements of a selection ask for, in the server's terms.

    Attributes
    ----------
    window : Window
        Its start belongs to it, its end does not.
    name : timedelta64
        Leads from a bucket's start to what it is called.
    """

    level: _Level
    window: Window
    origin: datetime
    name: np.timedelta64
    scope: Mapping[str, object]


def _span(selection: Selection) -> _Span:
    level, window, origin, name = _level(selection), selection.window, _ORIGIN, timedelta(0)
    if selection.edge is Edge.END:  # what lies in (start, end] lies in [start, end) an instant later
        window = Window(window.start + _INSTANT, window.end + _INSTANT)
        origin, name = window.end, (level.width or _INSTANT) - _INSTANT
    scope = {"origin": origin} if selection.resolution is Resolution.MINUTE else {}
    return _Span(level, window, origin, np.timedelta64(name, "us"), scope)


def _blocks(
    cursor: Cursor, tenant_key: int, selection: Selection, series_ids: Sequence[int]
) -> Generator[Block, None, None]:
    span = _span(selection)
    stretch = min(span.level.longest, max(1, SERIES_AT_ONCE // max(1, len(series_ids))))
    for start, end in _slices(span.window, span.level.slice * stretch, span.origin):
        for i in range(0, len(series_ids), SERIES_AT_ONCE):
            several = {"tenant_key": tenant_key, "series_ids": series_ids[i : i + SERIES_AT_ONCE]}
            yield from _copied(cursor, span.level, {**span.scope, **several, "start": start, "end": end}, span.name)


def _slices(window: Window, length: timedelta, origin: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut a window at the multiples of a length, so that a slice of samples by their start lies in one partition."""
    start = window.start
    while start < window.end:
        end = min(start + length - (start - origin) % length, window.end)
        yield start, end
        start = end


def _copied(
    cursor: Cursor, level: _Level, wanted: Mapping[str, object], name: np.timedelta64
) -> Generator[Block, None, None]:
    """Yield the rows of a statement; `name` leads from a bucket's start to what it is called."""
    row = np.dtype([("ts", ">i8"), *level.columns])
    pieces: list[_Piece] = []
    room = BLOCK_ROWS
    with cursor.copy(b"copy (" + level.query + b") to stdout (format binary)", wanted) as copy:
        for series_id, content in _packed(copy):
            rest = content
            while rest:
                piece, rest = rest[: room * row.itemsize], rest[room * row.itemsize :]
                pieces.append((series_id, piece))
                room -= len(piece) // row.itemsize
                if not room:
                    yield _block(pieces, row, level, name)
                    pieces, room = [], BLOCK_ROWS
    if pieces:
        yield _block(pieces, row, level, name)


def _packed(parts: Iterable[bytes | bytearray | memoryview]) -> Iterator[_Piece]:
    """Yield the two fields of each row of a binary COPY: the key of a series, and its rows of this slice, packed."""
    kept = bytearray()
    at = len(HEADER)
    for part in parts:
        kept += part
        while len(kept) >= at + _HEAD.size:
            fields, _, series_id, length = _HEAD.unpack_from(kept, at)
            end = at + _HEAD.size + length
            if len(kept) < end:
                break
            assert fields == 2
            yield series_id, bytes(kept[end - length : end])
            del kept[:end]
            at = 0


def _block(pieces: Sequence[_Piece], row: np.dtype[np.void], level: _Level, name: np.timedelta64) -> Block:
    rows = np.frombuffer(b"".join(content for _, content in pieces), dtype=row)
    ids = np.array([series_id for series_id, _ in pieces], dtype=np.int32)
    return Block(
        series_id=ids.repeat([len(content) // row.itemsize for _, content in pieces]),
        ts=EPOCH + rows["ts"].astype("timedelta64[us]") + name,
        numbers={column: rows[column].astype(np.dtype(kind).newbyteorder("=")) for column, kind in level.columns},
    )


def _gathered(blocks: Sequence[Block], series: Mapping[int, SeriesKey], columns: Sequence[str]) -> list[SeriesRows]:
    if not blocks:
        return []
    ids = np.concatenate([block.series_id for block in blocks])
    order = np.argsort(ids, kind="stable")  # slices of time follow each other: within a series, time goes on
    ts = np.concatenate([block.ts for block in blocks])[order]
    numbers = {name: np.concatenate([block.numbers[name] for block in blocks])[order] for name in columns}
    found, firsts = np.unique(ids[order], return_index=True)
    parts = [slice(start, end) for start, end in pairwise([*firsts.tolist(), len(ids)])]
    rows = [
        SeriesRows(series[series_id], ts[part], {name: column[part] for name, column in numbers.items()})
        for series_id, part in zip(found.tolist(), parts, strict=True)
        if series_id in series  # else its tenant was erased in this moment
    ]
    return sorted(rows, key=lambda one: (one.series.host, one.series.metric, one.series.labels, one.series.collector))
