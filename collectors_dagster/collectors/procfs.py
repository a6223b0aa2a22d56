"""Reading small kernel files often: cached descriptors, positions found once."""

import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from collectors_dagster.errors import InvalidSampleError, SourceUnavailableError

Params = ParamSpec("Params")
Result = TypeVar("Result")

SMALL = 3072
"""procfs hands out lists in chunks of a page; a first chunk below this size is therefore the whole file."""
LARGEST = 8 * 1024 * 1024


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
    """

    __slots__ = ("_fd", "_path", "_single", "_size", "_source")

    def __init__(self, path: Path, *, source: str, single: bool) -> None:
        self._path = path
        self._source = source
        self._single = single
        self._size = 16384
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
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return self._read_single() if self._single else b"".join(self._chunks())
        except OSError as error:
            self.close()
            message = f"{self._path} cannot be read: {error.strerror}"
            raise SourceUnavailableError(message, source=self._source) from error

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_single(self) -> bytes:
        data = os.pread(self._fd, self._size, 0)
        while len(data) == self._size:
            self._grow()
            data = os.pread(self._fd, self._size, 0)
        return data

    def _chunks(self) -> Iterator[bytes]:
        chunk = os.pread(self._fd, self._size, 0)
        yield chunk
        offset = len(chunk)
        while chunk and offset >= SMALL:
            self._check(offset)
            chunk = os.pread(self._fd, self._size, offset)
            offset += len(chunk)
            yield chunk

    def _grow(self) -> None:
        self._size *= 2
        self._check(self._size)

    def _check(self, size: int) -> None:
        if size > LARGEST:
            self._size = 16384
            raise InvalidSampleError(f"{self._path} is larger than {LARGEST} bytes", source=self._source)


class KeyedFile:
    r"""Chosen numbers of a ``key value`` file, by positions found once and checked at each reading.

    Parameters
    ----------
    keys : tuple of bytes
        As written, with their colon if they have one.

    Examples
    --------
    >>> layout = KeyedFile((b"MemTotal:", b"SwapFree:", b"Absent:"))
    >>> layout.pick(b"MemTotal: 8 kB\nMemFree: 1 kB\nSwapFree: 2 kB\n")
    [8, 2]
    >>> layout.present
    (b'MemTotal:', b'SwapFree:')
    """

    __slots__ = ("_keys", "_length", "_positions", "present")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys
        self._length = -1
        self._positions: tuple[int, ...] = ()
        self.present: tuple[bytes, ...] = ()

    def pick(self, data: bytes) -> list[int]:
        """Return the values of the keys named in :attr:`present`, which is replaced when the file changed shape."""
        tokens = data.split()
        if not self._fits(tokens):
            self._find(tokens)
        return [natural(tokens[position]) for position in self._positions]

    def _fits(self, tokens: list[bytes]) -> bool:
        return len(tokens) == self._length and all(
            tokens[position - 1] == key for position, key in zip(self._positions, self.present, strict=True)
        )

    def _find(self, tokens: list[bytes]) -> None:
        places = {token: at + 1 for at, token in reversed(list(enumerate(tokens[:-1])))}
        found = sorted((places[key], key) for key in self._keys if key in places)
        self._length = len(tokens)
        self._positions = tuple(position for position, _ in found)
        self.present = tuple(key for _, key in found)


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
        If it is not made of digits only, or longer than any counter of a kernel.
    """
    if not text.isdigit() or len(text) > 20:
        raise ValueError(f"not a counter: {text[:24]!r}")
    return int(text)


def shown(name: bytes) -> str:
    """Return a kernel's name as text, whatever bytes it holds."""
    return name.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
