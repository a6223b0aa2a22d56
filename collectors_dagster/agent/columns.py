"""Numbers of a minute as few bytes: the columnar form of closed segments. Pure, exact to the last bit.

A sweep's neighbours in time are nearly equal, so each series is stored as a column of differences:

constant
    all values are the same bits: one value.
scaled
    every value is an integer divided by one of `DIVISORS` (counters, bytes, clock ticks, hundredths): the integers'
    differences, divided by their greatest common divisor, in the smallest machine type that holds them.
raw
    anything else, NaN and infinities too: the bits of each value XORed with those before it.

The streams of all columns are laid one after another (kinds, first values, divisors, differences by type), which
is what a general compressor then does well with.
"""

import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, repeat
from operator import mul, sub, truediv, xor

from collectors_dagster.errors import SpoolError

DIVISORS = (1, 100, 1_000, 1_000_000, 1_000_000_000)
_CONSTANT, _RAW, _SCALED = 0, 1, 2
_TYPES = "bhiq"
_BITS = tuple(zip(_TYPES, (7, 15, 31, 63), strict=True))
_PARTS = 4 + len(_TYPES)
_LARGEST_EXACT = 2**53
_LARGEST_FACTOR = 2**63
_FLOAT_BYTES = 8


class _Streams:
    """What the columns' parts are written to, and read from, in order."""

    def __init__(self) -> None:
        self.kinds = bytearray()
        self.firsts: array[int] = array("q")
        self.factors: array[int] = array("q")
        self.deltas: dict[str, array[int]] = {code: array(code) for code in _TYPES}
        self.raw = bytearray()

    def parts(self) -> tuple[bytes, ...]:
        deltas = (_portable(self.deltas[code]) for code in _TYPES)
        return (bytes(self.kinds), _shuffled(_portable(self.firsts)), _portable(self.factors), *deltas, bytes(self.raw))


def pack_columns(times: "Sequence[array[int]]", columns: "Sequence[array[float]]") -> bytes:
    """Return integer and float columns of one length as bytes.

    Examples
    --------
    >>> packed = pack_columns([array("q", [1, 2, 3])], [array("d", [0.5, 0.5, 0.25])])
    >>> unpack_columns(packed, 3, 1, 1)
    ([array('q', [1, 2, 3])], [array('d', [0.5, 0.5, 0.25])])
    """
    streams = _Streams()
    for integers in times:
        if not _put_integers(streams, list(integers), _SCALED):
            _put_raw(streams, integers.tobytes())
    for column in columns:
        _put_floats(streams, column)
    parts = streams.parts()
    return _portable(array("I", map(len, parts))) + b"".join(parts)


def unpack_columns(
    packed: bytes, length: int, times: int, columns: int
) -> "tuple[list[array[int]], list[array[float]]]":
    """Return what :func:`pack_columns` was given.

    Parameters
    ----------
    length : int
        Values per column.
    times, columns : int
        How many columns of integers and of floats there are.

    Raises
    ------
    SpoolError
        If this is not such a packing.
    """
    try:
        reader = _StreamReader(packed, length)
        whole = [reader.integers() for _ in range(times)]
        return whole, [reader.floats() for _ in range(columns)]
    except (ValueError, IndexError, OverflowError) as error:
        raise SpoolError(f"packed columns cannot be read: {error}") from error


def _put_floats(streams: _Streams, column: "array[float]") -> None:
    bits = column.tobytes()
    if bits == bits[:_FLOAT_BYTES] * len(column):
        streams.kinds.append(_CONSTANT)
        streams.firsts.frombytes(bits[:_FLOAT_BYTES])
        return
    for position, divisor in enumerate(DIVISORS if math.isfinite(column[-1]) else ()):
        integers = _as_integers(column, divisor)
        if integers is not None and _put_integers(streams, integers, _SCALED + len(_TYPES) * position):
            return
    _put_raw(streams, bits)


def _put_raw(streams: _Streams, bits: bytes) -> None:
    streams.kinds.append(_RAW)
    streams.raw += _shuffled(_xored(bits))


def _put_integers(streams: _Streams, integers: list[int], kind: int) -> bool:
    """Write a column of differences; tell whether they fit."""
    deltas = list(map(sub, integers[1:], integers))
    factor = math.gcd(*deltas) or 1
    if factor > 1:
        deltas = [delta // factor for delta in deltas]
    code = _smallest_type(deltas)
    if code is None or factor >= _LARGEST_FACTOR:
        return False
    streams.kinds.append(kind + _TYPES.index(code))
    streams.firsts.append(integers[0])
    streams.factors.append(factor)
    streams.deltas[code].extend(deltas)
    return True


def _as_integers(column: "array[float]", divisor: int) -> list[int] | None:
    """Return the integers that, divided by `divisor`, are exactly these values, if there are such."""
    if not _fits(column[-1], divisor):
        return None
    try:
        integers = list(map(int, column) if divisor == 1 else map(round, map(mul, column, repeat(divisor))))
    except (ValueError, OverflowError):  # NaN, infinity
        return None
    if max(integers) >= _LARGEST_EXACT or min(integers) <= -_LARGEST_EXACT:
        return None
    back = array("d", integers if divisor == 1 else list(map(truediv, integers, repeat(divisor))))
    return integers if back.tobytes() == column.tobytes() else None


def _fits(value: float, divisor: int) -> bool:
    scaled = value * divisor
    return abs(scaled) < _LARGEST_EXACT and round(scaled) / divisor == value


def _smallest_type(deltas: list[int]) -> str | None:
    bits = max(max(deltas, default=0), ~min(deltas, default=0)).bit_length()
    return next((code for code, most in _BITS if bits <= most), None)


class _StreamReader:
    """Takes columns out of the streams again."""

    def __init__(self, packed: bytes, length: int) -> None:
        parts = _cut(packed)
        self._length = length
        self._kinds = iter(parts[0])
        self._firsts = iter(_from_portable("q", _unshuffled(parts[1])))
        self._factors = iter(_from_portable("q", parts[2]))
        self._deltas = dict(zip(_TYPES, map(_from_portable, _TYPES, parts[3:-1]), strict=True))
        self._at = dict.fromkeys(_TYPES, 0)
        self._raw, self._raw_at = parts[-1], 0

    def integers(self) -> "array[int]":
        kind = _next(self._kinds)
        return array("q", self._raw_column() if kind == _RAW else self._scaled(kind))

    def floats(self) -> "array[float]":
        kind = _next(self._kinds)
        if kind == _CONSTANT:
            return array("d", array("q", [_next(self._firsts)]).tobytes() * self._length)
        if kind == _RAW:
            return array("d", self._raw_column())
        divisor = DIVISORS[(kind - _SCALED) // len(_TYPES)]
        integers = self._scaled(kind)
        return array("d", integers) if divisor == 1 else array("d", [value / divisor for value in integers])

    def _scaled(self, kind: int) -> list[int]:
        code = _TYPES[(kind - _SCALED) % len(_TYPES)]
        start = self._at[code]
        self._at[code] = start + self._length - 1
        deltas: Sequence[int] = self._deltas[code][start : self._at[code]]
        if len(deltas) != self._length - 1:
            raise ValueError("a column is incomplete")
        first, factor = _next(self._firsts), _next(self._factors)
        return list(accumulate(deltas if factor == 1 else [delta * factor for delta in deltas], initial=first))

    def _raw_column(self) -> bytes:
        start = self._raw_at
        self._raw_at = start + self._length * _FLOAT_BYTES
        stretch = self._raw[start : self._raw_at]
        if len(stretch) != self._length * _FLOAT_BYTES:
            raise ValueError("a column is incomplete")
        return _unxored(_unshuffled(stretch))


def _next(stream: Iterator[int]) -> int:
    value = next(stream, None)
    if value is None:
        raise ValueError("a stream is incomplete")
    return value


def _cut(packed: bytes) -> list[bytes]:
    lengths = _from_portable("I", packed[: _PARTS * 4])
    parts, at = [], _PARTS * 4
    for size in lengths:
        parts.append(packed[at : at + size])
        at += size
    if at != len(packed) or len(lengths) != _PARTS:
        raise ValueError(f"{len(packed)} bytes instead of {at}")
    return parts


def _shuffled(words: bytes) -> bytes:
    """Put the first bytes of all words first, then the second ones: equal bytes come together."""
    return b"".join(words[at::_FLOAT_BYTES] for at in range(_FLOAT_BYTES))


def _unshuffled(planes: bytes) -> bytes:
    words, count = bytearray(len(planes)), len(planes) // _FLOAT_BYTES
    for at in range(_FLOAT_BYTES):
        words[at::_FLOAT_BYTES] = planes[at * count : (at + 1) * count]
    return bytes(words)


def _xored(words: bytes) -> bytes:
    """Return each word XORed with the one before it, as one long number: quick in plain Python."""
    number = int.from_bytes(words, "little")
    before = number & ((1 << 8 * (len(words) - _FLOAT_BYTES)) - 1)
    return (number ^ before << 8 * _FLOAT_BYTES).to_bytes(len(words), "little")


def _unxored(words: bytes) -> bytes:
    return array("Q", accumulate(array("Q", words), xor)).tobytes()


def _portable(values: "array[int]") -> bytes:
    """Return little-endian bytes."""
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _from_portable(code: str, data: bytes) -> "array[int]":
    values = array(code, data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
