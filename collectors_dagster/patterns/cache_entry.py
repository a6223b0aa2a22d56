"""What lies in a cache under one key, as bytes: built here, and parsed as what a stranger may have written."""

from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct

from collectors_dagster.errors import CompressionError
from collectors_dagster.patterns.cache_policy import NO_HISTORY, TIERS, History, Tier
from collectors_dagster.patterns.compression import Codec, Compressor, unpacked

_HEAD = Struct(">BBBIHHI8s")
"""Version, kind, tier, load time (ms), reloads, changes, watched (s), mark; then the packed value."""
_VERSION = 1
_VALUE, _ABSENT = 0, 1
_LONGEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What was loaded, and what is known of it.

    Attributes
    ----------
    value : bytes or None
        ``None``: it is known that there is none.
    load_seconds : float
        How long loading took.
    mark : bytes
        Eight bytes by which another value is recognised as another.
    """

    value: bytes | None
    tier: Tier = Tier.WARM
    load_seconds: float = 0.0
    history: History = NO_HISTORY
    mark: bytes = bytes(8)


def mark_of(value: bytes | None) -> bytes:
    """Return eight bytes that differ if values do.

    Examples
    --------
    >>> mark_of(b"a") == mark_of(b"b"), mark_of(None) == mark_of(b"")
    (False, False)
    """
    return blake2b(b"\0" if value is None else b"\1" + value, digest_size=8).digest()


def written(entry: Entry, compressor: Compressor, kind: str) -> bytes:
    """Return an entry as bytes; `kind` names payloads that are alike, for the choice of a codec."""
    head = _HEAD.pack(
        _VERSION,
        _ABSENT if entry.value is None else _VALUE,
        TIERS.index(entry.tier),
        min(round(entry.load_seconds * 1000), _LONGEST),
        min(entry.history.reloads, 2**16 - 1),
        min(entry.history.changes, 2**16 - 1),
        min(round(entry.history.watched_seconds), _LONGEST),
        entry.mark,
    )
    return head if entry.value is None else head + compressor.packed(entry.value, kind)


def codec_of(data: bytes) -> Codec:
    """Return how the value in a written entry is packed."""
    return Codec(data[_HEAD.size]) if len(data) > _HEAD.size else Codec.NONE


def parsed(data: bytes, max_bytes: int) -> Entry | None:
    """Return the entry that bytes hold, or ``None`` if they hold none.

    Parameters
    ----------
    max_bytes : int
        A value that would become larger is none.
    """
    if len(data) < _HEAD.size:
        return None
    version, kind, tier, load_ms, reloads, changes, watched, mark = _HEAD.unpack_from(data)
    if version != _VERSION or tier >= len(TIERS) or changes > reloads:
        return None
    if kind == _ABSENT and len(data) == _HEAD.size:
        value = None
    elif kind == _VALUE:
        try:
            value = unpacked(data[_HEAD.size :], max_bytes)
        except CompressionError:
            return None
    else:
        return None
    return Entry(value, TIERS[tier], load_ms / 1000, History(reloads, changes, float(watched)), mark)
