"""A tenant's cache as steps on shared state: what is kept, how much of it, and who may load what is missing.

A tenant's entries lie on :data:`SHELVES` shelves, by the digest of their keys; each shelf is one object and holds its
part of the tenant's bytes, so that the limit is kept without anybody looking through all keys. Where it is full, what
was used longest ago goes. A load has a lease with a token; storing what was loaded gives it back in the same step, and
what was dropped meanwhile is not stored. Only the store's clock counts.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

SHELVES = 16
ENTRY_BYTES = 256
"""What an entry costs besides its value and its tags, roughly as much as Redis needs for it."""
PURGED_MOST = 100
EVICTED_MOST = 1000
"""Entries removed in one step at most; a step must be short."""


class Claim(IntEnum):
    """When whoever asks for an entry wants the lease to load it."""

    NEVER = 0
    IF_DUE = 1
    """If it is missing or not fresh any more."""
    ALWAYS = 2
    """Also before its time is over."""
    OVER = 3
    """Also if another one has it: that one has been waited for long enough."""


class Stored(IntEnum):
    """What became of a value that was to be stored."""

    REVOKED = 0
    """The lease was another's by then, or dropped with the entry: the value may be older than what dropped it."""
    KEPT = 1
    TOO_LARGE = 2


@dataclass(slots=True)
class _Entry:
    value: bytes
    stored: int
    fresh: int
    end: int
    cost: int
    tags: tuple[str, ...]


def _take(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Look at an entry, and claim its lease if need be: digest, token, lease (us), claim.

    Answers 1 or 0 for the lease, how long another one's lasts (us), 1 or 0 for the entry, its age, how long it is fresh
    (us, negative afterwards) and how long kept, and its value.
    """
    digest, token, lease, claim = str(arguments[0]), str(arguments[1]), int(arguments[2]), int(arguments[3])
    entries: dict[str, _Entry] = record.setdefault("entries", {})
    entry = entries.get(digest)
    if entry is not None and entry.end <= now:
        _remove(record, digest)
        entry = None
    if entry is not None:
        entries[digest] = entries.pop(digest)  # used last
    holder, end = _lease_of(record, digest, now)
    due = claim >= Claim.ALWAYS or (claim == Claim.IF_DUE and (entry is None or entry.fresh <= now))
    granted = due and (holder in {"", token} or claim == Claim.OVER)
    if granted:
        record.setdefault("leases", {})[digest] = token, now + lease
    other = 0 if granted or holder in {"", token} else end - now
    keep_ms = _keep_ms(record, now, now + lease if granted else 0)
    if entry is None:
        return [int(granted), other, 0, 0, 0, 0, None], keep_ms
    times = now - entry.stored, entry.fresh - now, entry.end - now
    return [int(granted), other, 1, *times, entry.value], keep_ms


def _put(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Store an entry, give its lease back: digest, token or nothing, fresh and kept (us), shelf's bytes, value, tags.

    Answers a :class:`Stored`, the shelf's bytes in use, and how many entries had to go for it.
    """
    digest, token, fresh, kept, most = str(arguments[0]), str(arguments[1]), *map(int, arguments[2:5])
    value, tags = _bytes(arguments[5]), tuple(dict.fromkeys(map(str, arguments[6:])))
    if token:
        if _lease_of(record, digest, now)[0] != token:
            return [Stored.REVOKED, 0, 0], _keep_ms(record, now, 0)
        del record["leases"][digest]
    _remove(record, digest)
    entries: dict[str, _Entry] = record.setdefault("entries", {})
    ended = sorted((entry.end, name) for name, entry in entries.items() if entry.end <= now)
    for _, name in ended[:PURGED_MOST]:
        _remove(record, name)
    cost = len(value) + sum(len(tag.encode()) for tag in tags) + ENTRY_BYTES
    evicted = 0
    while cost <= most < record.get("bytes", 0) + cost and evicted < EVICTED_MOST:
        _remove(record, next(iter(entries)))
        evicted += 1
    if record.get("bytes", 0) + cost > most:
        return [Stored.TOO_LARGE, record.get("bytes", 0), evicted], _keep_ms(record, now, 0)
    entries[digest] = _Entry(value, now, now + fresh, now + kept, cost, tags)
    record["bytes"] = record.get("bytes", 0) + cost
    for tag in tags:
        insort(record.setdefault("tags", []), (tag, digest))
    return [Stored.KEPT, record["bytes"], evicted], _keep_ms(record, now, now + kept)


def _renew(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Prolong a lease: digest, token, lease (us). Answers 1, or 0 if it has ended."""
    digest, token, lease = str(arguments[0]), str(arguments[1]), int(arguments[2])
    held = _lease_of(record, digest, now)[0] == token
    if held:
        record["leases"][digest] = token, now + lease
    return [int(held)], _keep_ms(record, now, now + lease if held else 0)


def _release(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Give a lease back: digest, token. Answers 1, or 0 if it has ended."""
    held = _lease_of(record, str(arguments[0]), now)[0] == str(arguments[1])
    if held:
        del record["leases"][str(arguments[0])]
    return [int(held)], _keep_ms(record, now, 0)


def _drop(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Remove an entry, and let nobody store what it loads for it now: digest. Answers 0."""
    _remove(record, str(arguments[0]))
    record.get("leases", {}).pop(str(arguments[0]), None)
    return [0], _keep_ms(record, now, 0)


def _drop_tag(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Remove entries with a tag, and let nobody store what it loads now: tag. Answers 1 if not all were removed yet."""
    tag = str(arguments[0])
    tagged: list[tuple[str, str]] = record.get("tags", [])
    first, last = bisect_left(tagged, (tag, "")), bisect_left(tagged, (tag + "\0", ""))
    for _, digest in tagged[first : min(last, first + EVICTED_MOST)]:
        _remove(record, digest)
    record.pop("leases", None)
    return [int(last - first > EVICTED_MOST)], _keep_ms(record, now, 0)


def _clear(record: Record, _now: int, _arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Remove everything, whatever it is."""
    record.clear()
    return [0], 0


def _remove(record: Record, digest: str) -> bool:
    entry: _Entry | None = record.get("entries", {}).pop(digest, None)
    if entry is None:
        return False
    record["bytes"] -= entry.cost
    for tag in entry.tags:
        tagged: list[tuple[str, str]] = record["tags"]
        del tagged[bisect_left(tagged, (tag, digest))]
    return True


def _lease_of(record: Record, digest: str, now: int) -> tuple[str, int]:
    token, end = record.get("leases", {}).get(digest, ("", 0))
    return (token, end) if end > now else ("", 0)


def _keep_ms(record: Record, now: int, end: int) -> int:
    last: int = max(record.get("last", 0), end)
    record["last"] = last
    return -(-max(0, last - now) // 1000) + 1


def _bytes(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


_OPERATIONS: dict[str, Callable[[Record, int, Sequence[Argument]], tuple[Reply, int]]] = {
    "take": _take,
    "put": _put,
    "renew": _renew,
    "release": _release,
    "drop": _drop,
    "drop_tag": _drop_tag,
    "clear": _clear,
}


def _shelf(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Do one operation on a shelf: its name, and what it is told."""
    return _OPERATIONS[str(arguments[0])](record, now, arguments[1:])


_PARTS = ("", ":about", ":ends", ":used", ":tags", ":holders", ":leases")
SHELF = Step("cache", _shelf, _PARTS, repeatable=True)
STORE = Step("cache", _shelf, _PARTS)
"""For ``put``: sent again after a cut, it could bring back what was dropped in between."""
