"""Smaller bytes where it pays: gzip's method, lz4 or zstd, whichever was measured to save most.

Packed bytes begin with a codec byte, so that whoever reads them needs no setting. Payloads below a threshold, and those
of which too little would be saved, are kept as they are. Which codec is best depends on the payload: it is measured
for each kind of payload, remembered, and measured anew now and then. :func:`measured` is the rule, :class:`Compressor`
keeps what was measured in this process. lz4 and zstd are imported when they are first used.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from collectors_dagster.errors import CompressionError, UnknownCodecError

SMALLEST_BYTES = 1024
LEAST_SAVING = 0.2
CLEAR_GAIN = 0.02
"""A codec takes the place of one before it in the order only if it saves this share of the payload more."""
MEASURE_EVERY = 1000
"""Payloads of one kind that one measurement holds for."""
MOST_KINDS = 64
GZIP_LEVEL = 4
"""Of a minute of samples it saves 2 % less than zlib's own choice, 6, in a third of the time."""
ZSTD_LEVEL = 9


class Codec(IntEnum):
    """How packed bytes are packed: their first byte.

    Gzip's method (deflate) stands in zlib's frame, twelve bytes less than gzip's own; a zlib stream always begins with
    the byte 0x78, which is its codec byte, so that streams from before there were codec bytes are read like the others.
    """

    NONE = 0
    LZ4 = 2
    ZSTD = 3
    GZIP = 0x78


@dataclass(frozen=True, slots=True)
class CompressionPolicy:
    """What is tried, and what is worth it.

    Attributes
    ----------
    candidates : tuple of Codec
        In order of preference; none: nothing is compressed.
    smallest_bytes : int
        Payloads below are kept as they are.
    least_saving : float
        Share of the payload, 0..1, that must be saved; otherwise it is kept as it is.
    enough : float
        Share saved with which no further candidate is measured: its library need not be loaded.
    """

    candidates: tuple[Codec, ...]
    smallest_bytes: int = SMALLEST_BYTES
    least_saving: float = LEAST_SAVING
    enough: float = 1.0

    def __post_init__(self) -> None:
        if self.smallest_bytes < 0 or not 0 <= self.least_saving < 1 or Codec.NONE in self.candidates:
            raise ValueError(f"not a policy of compression: {self}")


class Choice(NamedTuple):
    """What a measurement found.

    Attributes
    ----------
    payloads_left : int
        How many more it holds for.
    """

    codec: Codec
    payloads_left: int


def measured(policy: CompressionPolicy, sizes: Mapping[Codec, int], size: int) -> Codec:
    """Return the codec to take for payloads like one of `size` bytes that became so small.

    Examples
    --------
    >>> policy = CompressionPolicy((Codec.GZIP, Codec.ZSTD))
    >>> measured(policy, {Codec.GZIP: 500, Codec.ZSTD: 490}, 2000).name
    'GZIP'
    >>> measured(policy, {Codec.GZIP: 500, Codec.ZSTD: 300}, 2000).name
    'ZSTD'
    >>> measured(policy, {Codec.GZIP: 1900, Codec.ZSTD: 1850}, 2000).name
    'NONE'
    """
    best, smallest = Codec.NONE, size
    for codec in policy.candidates:
        if codec in sizes and (best is Codec.NONE or smallest - sizes[codec] >= CLEAR_GAIN * size):
            best, smallest = codec, sizes[codec]
    return best if pays(policy, smallest, size) else Codec.NONE


def pays(policy: CompressionPolicy, packed: int, size: int) -> bool:
    """Tell whether so much is saved that packing is worth it."""
    return size - packed >= policy.least_saving * size


class Compressor:
    r"""Packs payloads, and remembers which codec is best for which kind of them.

    Several threads may use one: at worst something is measured twice.

    Examples
    --------
    >>> compressor = Compressor(CompressionPolicy((Codec.GZIP,)))
    >>> len(compressor.packed(bytes(5000), "zeros"))
    28
    >>> compressor.packed(b"short", "words")
    b'\x00short'
    """

    def __init__(self, policy: CompressionPolicy) -> None:
        self.policy = policy
        self._choices: dict[str, Choice] = {}

    def packed(self, payload: bytes, kind: str) -> bytes:
        """Return a payload behind its codec byte.

        Parameters
        ----------
        kind : str
            Payloads that are alike; the `MOST_KINDS` newest are remembered.
        """
        if len(payload) < self.policy.smallest_bytes or not self.policy.candidates:
            return _stored(payload)
        choice = self._choices.get(kind)
        if choice is None or not choice.payloads_left:
            return self._measure(payload, kind)
        self._choices[kind] = choice._replace(payloads_left=choice.payloads_left - 1)
        if choice.codec is Codec.NONE:
            return _stored(payload)
        packed = _CODECS[choice.codec].pack(payload)
        return packed if pays(self.policy, len(packed), len(payload)) else _stored(payload)

    def chosen(self) -> dict[str, Codec]:
        """Return what was measured to be best, by kind of payload."""
        return {kind: choice.codec for kind, choice in list(self._choices.items())}  # a list: others may add meanwhile

    def _measure(self, payload: bytes, kind: str) -> bytes:
        found: dict[Codec, bytes] = {}
        for codec in self.policy.candidates:
            if not is_available(codec):
                continue
            found[codec] = _CODECS[codec].pack(payload)
            if len(payload) - len(found[codec]) >= self.policy.enough * len(payload):
                break
        best = measured(self.policy, {codec: len(packed) for codec, packed in found.items()}, len(payload))
        self._choices.pop(kind, None)
        self._choices[kind] = Choice(best, MEASURE_EVERY)
        while len(self._choices) > MOST_KINDS:
            del self._choices[next(iter(self._choices))]
        return found.get(best) or _stored(payload)


def unpacked(data: bytes, max_bytes: int) -> bytes:
    """Return the payload of packed bytes.

    Parameters
    ----------
    max_bytes : int
        What would become larger is refused before it takes the memory.

    Raises
    ------
    UnknownCodecError
        If they were packed by something that this version, or this installation, does not know.
    CompressionError
        If they are damaged, or would become too large.
    """
    if not data:
        raise CompressionError("packed bytes lack their codec byte")
    try:
        codec = _CODECS[Codec(data[0])]
    except ValueError:
        raise UnknownCodecError(
            f"packed with the codec {data[0]}, which this version does not know; update it"
        ) from None
    return codec.unpack(data, max_bytes)


def is_available(codec: Codec) -> bool:
    """Tell whether a codec can be used here; loads its library, if it needs one."""
    try:
        _CODECS[codec].load()
    except UnknownCodecError:
        return False
    return True


def _stored(payload: bytes) -> bytes:
    return bytes([Codec.NONE]) + payload


def _restored(data: bytes, max_bytes: int) -> bytes:
    return _checked(data[1:], max_bytes)


def _gzipped(payload: bytes) -> bytes:
    return zlib.compress(payload, GZIP_LEVEL)


def _gunzipped(data: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise CompressionError(f"packed bytes are damaged: {error}") from error
    _checked(plain, max_bytes)
    if not stream.eof or stream.unused_data:
        raise CompressionError("packed bytes are damaged: they end too early or too late")
    return plain


def _lz4_packed(payload: bytes) -> bytes:
    packed: bytes = _lz4().compress(payload, content_checksum=True)
    return bytes([Codec.LZ4]) + packed


def _lz4_unpacked(data: bytes, max_bytes: int) -> bytes:
    library = _lz4()
    stream = library.LZ4FrameDecompressor()
    try:
        size = library.get_frame_info(data[1:])["content_size"]
        _check_size(size, max_bytes)
        plain: bytes = stream.decompress(data[1:], max_length=size + 1)
    except RuntimeError as error:
        raise CompressionError(f"packed bytes are damaged: {error}") from error
    if not stream.eof or stream.unused_data:
        raise CompressionError("packed bytes are damaged: they end too early or too late")
    return _checked(plain, max_bytes)


def _zstd_packed(payload: bytes) -> bytes:
    packed: bytes = _zstd().ZstdCompressor(level=ZSTD_LEVEL).compress(payload)
    return bytes([Codec.ZSTD]) + packed


def _zstd_unpacked(data: bytes, max_bytes: int) -> bytes:
    library = _zstd()
    try:
        size = library.frame_content_size(data[1:])
        if size < 0:
            raise CompressionError("packed bytes do not say how large they become")
        _check_size(size, max_bytes)
        plain: bytes = library.ZstdDecompressor().decompress(data[1:], allow_extra_data=False)
    except library.ZstdError as error:
        raise CompressionError(f"packed bytes are damaged: {error}") from error
    return plain


def _checked(plain: bytes, max_bytes: int) -> bytes:
    _check_size(len(plain), max_bytes)
    return plain


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise CompressionError(f"packed bytes become larger than the {max_bytes} bytes expected at most")


def _lz4() -> Any:
    try:
        import lz4.frame  # noqa: PLC0415  # only whoever packs with it pays its memory
    except ImportError as error:
        raise UnknownCodecError("packed with lz4, which is not installed; install the package lz4") from error
    return lz4.frame


def _zstd() -> Any:
    try:
        import zstandard  # noqa: PLC0415  # as above
    except ImportError as error:
        raise UnknownCodecError("packed with zstd, which is not installed; install the package zstandard") from error
    return zstandard


class _Functions(NamedTuple):
    load: Callable[[], object]
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes, int], bytes]


_CODECS = {
    Codec.NONE: _Functions(bool, _stored, _restored),
    Codec.GZIP: _Functions(bool, _gzipped, _gunzipped),
    Codec.LZ4: _Functions(_lz4, _lz4_packed, _lz4_unpacked),
    Codec.ZSTD: _Functions(_zstd, _zstd_packed, _zstd_unpacked),
}
