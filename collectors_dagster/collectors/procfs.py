"""Reading small kernel files often: cached descriptors, positions found once."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from operator import itemgetter, mul
from pathlib import Path
from typing import ParamSpec, TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.config.files import PLAIN
from collectors_dagster.errors import InvalidSampleError, SourceUnavailableError

Params = ParamSpec("Params")
Result = TypeVar("Result")

CHUNK, SMALL = 4096, 3072
"""procfs hands out lists in chunks of a page; a first chunk below `SMALL` is therefore the whole file."""
FIRST_SIZE = 16384
LARGEST = 8 * 1024 * 1024
BEYOND_COUNTERS = 10**20
"""A kernel's counters have 64 bits."""
AS_WRITTEN: Mapping[bytes, int] = {}
LOOK_AGAIN_SECONDS = 60.0
"""What a kernel does not offer now may be there after a module was loaded."""


class ProcFile:
    """A kernel file read over and over through one descriptor.

    Parameters
    ----------
    path : Path
        Opened at the first reading, and again after an error.
    source : str
        Collector to name in errors.
    single : bool
        The kernel writes this file in one piece (``single_open``), so one call reads it whole.
    longest : int
        Bytes that no line of a list exceeds: a chunk is the whole file if one more line would have had its place.
    """

    __slots__ = ("_fd", "_path", "_single", "_size", "_source", "_whole")

    def __init__(self, path: Path, *, source: str, single: bool, longest: int = CHUNK - SMALL) -> None:
        self._path = path
        self._source = source
        self._single = single
        self._size = FIRST_SIZE
        self._whole = self._size if single else CHUNK - longest
        self._fd = -1

    def read(self) -> bytes:
        """Return the file's present content.

        Raises
        ------
        SourceUnavailableError
            If it cannot be opened or read.
        InvalidSampleError
            If it is absurdly large.
        """
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDONLY | PLAIN)
            data = os.pread(self._fd, self._size, 0)
            if len(data) < self._whole:
                return data
            return self._read_single(data) if self._single else b"".join(self._chunks(data))
        except OSError as error:
            self.close()
            message = f"{self._path} cannot be read: {error.strerror}"
            raise SourceUnavailableError(message, source=self._source) from error

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_single(self, data: bytes) -> bytes:
        while len(data) == self._size:
            self._size *= 2
            self._check(self._size)
            self._whole = self._size
            data = os.pread(self._fd, self._size, 0)
        return data

    def _chunks(self, first: bytes) -> Iterator[bytes]:
        yield first
        chunk, offset = first, len(first)
        while chunk:
            self._check(offset)
            chunk = os.pread(self._fd, self._size, offset)
            offset += len(chunk)
            yield chunk

    def _check(self, size: int) -> None:
        if size > LARGEST:
            self._size = FIRST_SIZE
            raise InvalidSampleError(f"{self._path} is larger than {LARGEST} bytes", source=self._source)


class KeyedFile:
    r"""Chosen numbers of a ``key value`` file, by positions found once and checked at each reading.

    What did not change since the last reading is not parsed again; the list is then the same, so leave it alone.

    Parameters
    ----------
    keys : tuple of bytes
        As written, with their colon if they have one.
    factors : mapping of bytes to int
        By key, what makes a value's unit of the file's.

    Examples
    --------
    >>> layout = KeyedFile((b"MemTotal:", b"SwapFree:", b"Absent:"))
    >>> layout.pick(b"MemTotal: 8 kB\nMemFree: 1 kB\nSwapFree: 2 kB\n")
    [8, 2]
    >>> layout.present
    (b'MemTotal:', b'SwapFree:')
    """

    __slots__ = (
        "_data",
        "_expected",
        "_factors",
        "_keys",
        "_length",
        "_numbers",
        "_units",
        "_values",
        "_words",
        "present",
    )

    def __init__(self, keys: tuple[bytes, ...], factors: Mapping[bytes, int] = AS_WRITTEN) -> None:
        self._keys = keys
        self._units = factors
        self._data: bytes | None = None
        self._values: list[int] = []
        self._length = -1
        self._expected: tuple[bytes, ...] = ()
        self._words = self._numbers = picker(())
        self._factors: tuple[int, ...] | None = None
        self.present: tuple[bytes, ...] = ()

    def pick(self, data: bytes) -> list[int]:
        """Return the values of the keys named in :attr:`present`, which is replaced when the file changed shape."""
        if data != self._data:
            self._data = None  # what is remembered below must fit together, or be found anew
            tokens = data.split()
            if len(tokens) != self._length or self._words(tokens) != self._expected:
                self._find(tokens)
            values = naturals(self._numbers(tokens))
            self._values = values if self._factors is None else list(map(mul, values, self._factors))
            self._data = data
        return self._values

    def _find(self, tokens: list[bytes]) -> None:
        places = {token: at for at, token in reversed(list(enumerate(tokens[:-1])))}
        found = sorted((places[key], key) for key in self._keys if key in places)
        self._adopt(tokens, [at for at, _ in found], [(at + 1, key) for at, key in found])

    def _adopt(self, tokens: list[bytes], words: Sequence[int], found: Sequence[tuple[int, bytes]]) -> None:
        """Remember where which numbers stand, and which words must stay where they are."""
        self._length = len(tokens)
        self._words = picker(words)
        self._expected = self._words(tokens)
        self._numbers = picker([at for at, _ in found])
        self._factors = tuple(self._units.get(key, 1) for _, key in found) if self._units else None
        self.present = tuple(key for _, key in found)


class GroupedFile(KeyedFile):
    r"""The same for lines that begin with a group's name: ``sockstat``.

    Parameters
    ----------
    keys : tuple of bytes
        Group and key as written, without a blank: ``TCP:inuse``.

    Examples
    --------
    >>> layout = GroupedFile((b"TCP:inuse", b"UDP:inuse"))
    >>> layout.pick(b"TCP: inuse 7 orphan 0\nUDP: inuse 3\n")
    [7, 3]
    """

    __slots__ = ()

    def _find(self, tokens: list[bytes]) -> None:
        group, groups = b"", []
        found: dict[bytes, int] = {}
        for at, token in enumerate(tokens[:-1]):
            if token.endswith(b":"):
                group = token
                groups.append(at)
            elif group + token in self._keys:
                found.setdefault(group + token, at)
        self._adopt(tokens, [*found.values(), *groups], [(at + 1, key) for key, at in found.items()])


class HeadedFile:
    r"""Chosen numbers of a file in which a line of names precedes each line of numbers: ``snmp``, ``netstat``.

    Parameters
    ----------
    keys : tuple of bytes
        Group and name as written, without a blank: ``Tcp:RetransSegs``.

    Examples
    --------
    >>> layout = HeadedFile((b"Tcp:OutSegs", b"Udp:InErrors", b"Tcp:Absent"))
    >>> layout.pick(b"Tcp: MaxConn OutSegs\nTcp: -1 7\nUdp: InErrors\nUdp: 3\n")
    [7, 3]
    >>> layout.present
    (b'Tcp:OutSegs', b'Udp:InErrors')
    """

    __slots__ = ("_heads", "_keys", "_rows", "present")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = frozenset(keys)
        self._heads: list[bytes] = []
        self._rows: list[_Row] = []
        self.present: tuple[bytes, ...] = ()

    def pick(self, data: bytes) -> list[int]:
        """Return the values of the keys named in :attr:`present`, which is replaced when the file changed shape."""
        lines = data.splitlines()
        if lines[::2] != self._heads:
            self._find(lines[::2])
        return [value for row in self._rows for value in row.numbers(lines)]

    def _find(self, heads: list[bytes]) -> None:
        rows: list[_Row] = []
        present: list[bytes] = []
        for number, head in enumerate(heads):
            group, *names = head.split()
            chosen = {group + name: at for at, name in enumerate(names, 1) if group + name in self._keys}
            if chosen:
                rows.append(_Row(2 * number + 1, group, len(names) + 1, list(chosen.values())))
                present += chosen
        self._heads, self._rows, self.present = heads, rows, tuple(present)


class _Row:
    """The numbers under one head, parsed again only when the line changed."""

    __slots__ = ("_at", "_group", "_line", "_pick", "_values", "_width")

    def __init__(self, at: int, group: bytes, width: int, positions: list[int]) -> None:
        self._at = at
        self._group = group
        self._width = width
        self._pick = picker(positions)
        self._line: bytes | None = None  # not b"": a line can be empty, and is no row of numbers
        self._values: list[int] = []

    def numbers(self, lines: list[bytes]) -> list[int]:
        line = lines[self._at]
        if line != self._line:
            tokens = line.split()
            if len(tokens) != self._width or tokens[0] != self._group:
                raise ValueError(f"numbers do not stand under their names in {self._group[:24]!r}")
            self._values = naturals(self._pick(tokens))
            self._line = line
        return self._values


class OptionalFile(ProcFile):
    """A file that many kernels do not have; it is empty there, and looked for again once a minute."""

    __slots__ = ("_clock", "_due")

    def __init__(self, path: Path, *, source: str, single: bool, clock: Clock) -> None:
        super().__init__(path, source=source, single=single)
        self._clock = clock
        self._due = float("-inf")

    def read(self) -> bytes:
        """Return the file's present content, nothing if it is absent.

        Raises
        ------
        CollectionError
            As :class:`ProcFile`, but for absence.
        """
        if self._fd < 0 and self._clock.monotonic() < self._due:
            return b""
        try:
            return super().read()
        except SourceUnavailableError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._due = self._clock.monotonic() + LOOK_AGAIN_SECONDS
            return b""


def attribute(path: str | Path) -> bytes | None:
    """Return what a file of sysfs or a sysctl says, without blanks around it; None if it is absent or has no answer.

    Such files are asked seldom, so no descriptor is kept. A link that is down answers the question for its speed with
    an error, a device may vanish between two of them.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096).strip()
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return None


def parser(source: str) -> Callable[[Callable[Params, Result]], Callable[Params, Result]]:
    """Turn whatever nonsense makes a parser stumble over into :class:`InvalidSampleError`."""

    def decorate(parse: Callable[Params, Result]) -> Callable[Params, Result]:
        @wraps(parse)
        def checked(*args: Params.args, **kwargs: Params.kwargs) -> Result:
            try:
                return parse(*args, **kwargs)
            except (ValueError, LookupError, ArithmeticError) as error:
                message = f"{source}: unreadable content ({type(error).__name__}: {str(error)[:80]})"
                raise InvalidSampleError(message, source=source) from error

        return checked

    return decorate


def natural(text: bytes) -> int:
    """Return a counter's value.

    Raises
    ------
    ValueError
        If it is not made of digits only, or beyond any counter of a kernel.
    """
    if not text.isdigit() or (value := int(text)) >= BEYOND_COUNTERS:
        raise ValueError(f"not a counter: {text[:24]!r}")
    return value


def naturals(texts: Sequence[bytes]) -> list[int]:
    """Return the values of many counters, refusing all if one is none; a third of the price of :func:`natural` each.

    Raises
    ------
    ValueError
        As :func:`natural`.
    """
    if not texts:
        return []
    if not (all(texts) and b"".join(texts).isdigit()) or max(values := list(map(int, texts))) >= BEYOND_COUNTERS:
        raise ValueError(f"not a counter among {[text[:24] for text in texts[:3]]!r}")
    return values


def picker(positions: Sequence[int]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """Return what takes the tokens at `positions` out of a list, in C.

    Examples
    --------
    >>> picker([2, 0])([b"a", b"b", b"c"])
    (b'c', b'a')
    """
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda tokens: tuple(tokens[position] for position in positions)


def shown(name: bytes) -> str:
    """Return a kernel's name as text, whatever bytes it holds."""
    return name.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
