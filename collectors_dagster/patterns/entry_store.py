"""Where a cache's entries lie: copies in this process, and shelves in the store that all processes share.

Nothing here raises because of the store: while it is away, or holds nonsense under a key, entries are missing there,
and copies serve as long as they are kept. What was dropped meanwhile is dropped there as soon as it is back.
"""

import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from collectors_dagster.clock import Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.cache_entry import Entry, codec_of, parsed, written
from collectors_dagster.patterns.cache_policy import EARLIEST, CacheLimits
from collectors_dagster.patterns.cache_rules import SHELF, SHELVES, STORE, Claim, Stored
from collectors_dagster.patterns.compression import Compressor
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.local_copies import Copy, Key, LocalCopies
from collectors_dagster.patterns.observers import MetricsSink
from collectors_dagster.patterns.plans import Plan, Run
from collectors_dagster.patterns.shared_state import Argument, Item, Reply, SharedStore

OWED_MOST = 100
"""Keys and tags of one shelf that are to be dropped when the store is back; beyond, all of the shelf is."""
_LONGEST_US = 10**15
_ALL = ("clear", "")


class Times(NamedTuple):
    """Seconds: how old an entry is, and how long it is fresh and kept from now on."""

    age: float
    fresh: float
    kept: float


class Taken(NamedTuple):
    """What the store said about a key.

    Attributes
    ----------
    copy : Copy or None
        The entry; fresh, or kept past its time.
    granted : bool
        Whether the lease to load it is the caller's now.
    other_seconds : float
        How long another one's lease lasts.
    shared : bool
        Whether the store answered.
    """

    copy: Copy | None = None
    granted: bool = False
    other_seconds: float = 0.0
    shared: bool = True


class EntryStore:
    """The entries of one cache of one tenant. Safe to share between threads, loops and forked processes.

    Parameters
    ----------
    read : callable
        Raises an error for bytes that are no value of this cache: what lies in the store is then as good as nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        store: SharedStore,
        clock: Clock,
        tenant: str,
        limits: CacheLimits,
        copies: LocalCopies | None,
        metrics: MetricsSink,
        early_refresh_beta: float = 0.0,
        read: Callable[[bytes], object] = bytes,
    ) -> None:
        if not name or any(sign in name + tenant for sign in "{}|\n\0\1"):
            raise ValueError(f"the name of a cache is not empty and holds no braces or |: {tenant!r}, {name!r}")
        self.name = name
        self.limits = limits
        self.store = store
        self.clock = clock
        self.mine = (copies or LocalCopies(limits.local_bytes, limits.local_tenant_bytes)).of(tenant)
        self._metrics = metrics
        self._tenant = tenant or "all"
        self._read = read
        self._early = early_refresh_beta * EARLIEST
        self._compressor = Compressor(limits.compression)
        self._own_tag = f"{name}|"
        self.generation = 0
        """Grows whenever something is dropped here: what was asked before may be older than that."""
        self._owed: dict[int, dict[tuple[str, str], None]] = {}
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def key(self, key: str) -> Key:
        """Return the key under which this process keeps its copy."""
        return self.name, key

    # --- reading and writing -----------------------------------------------------------------------------------

    def taken(self, key: str, token: str = "", claim: Claim = Claim.NEVER) -> Plan[Taken]:
        """Look an entry up, and claim its lease if need be; what is found becomes this process's copy."""
        generation, began = self.generation, self.clock.monotonic()
        try:
            taken = yield from self._asked(key, token, claim, began)
        except SharedStateUnavailableError as error:
            yield from self._mended(self._place(key)[1], error)
            return Taken(shared=False)
        if generation == self.generation:
            self._learn(key, taken.copy)
        return taken

    def _asked(self, key: str, token: str, claim: Claim, began: float) -> Plan[Taken]:
        digest, shelf = self._place(key)
        lease = round(self.limits.lease_seconds * 1e6)
        yield from self._paid(shelf)
        reply = yield Run(SHELF, self._object(shelf), ("take", digest, token, lease, int(claim)))
        granted, other, found, *times = _numbers(reply, 6)
        value = reply[6] if found and len(reply) == 7 else None
        copy = self._understood(value, began, Times(*(micros / 1e6 for micros in times)))
        if found and copy is None and not granted and not other and claim is not Claim.NEVER:
            # Nonsense lies there, which the store takes for an entry that is fresh.
            reply = yield Run(SHELF, self._object(shelf), ("take", digest, token, lease, int(Claim.ALWAYS)))
            granted, other = _numbers(reply, 2)
        return Taken(copy, bool(granted), other / 1e6)

    def _understood(self, value: Item, began: float, times: Times) -> Copy | None:
        entry = parsed(value, self.limits.value_bytes) if isinstance(value, bytes) else None
        if entry is None or not self._readable(entry):
            return None
        return self._copy(entry, began, times, None)

    def _readable(self, entry: Entry) -> bool:
        try:
            if entry.value is not None:
                self._read(entry.value)
        except Exception:  # noqa: BLE001 - whatever a codec says to what a stranger wrote
            return False
        return True

    def _learn(self, key: str, copy: Copy | None) -> None:
        """Make what the store has this process's copy; one of its own that is newer is kept beside a stale one."""
        if copy is None:
            self.mine.pop(self.key(key))
            return
        known = self.mine.get(self.key(key))
        if known is None or known.stored_at <= copy.stored_at or copy.fresh_until > self.clock.monotonic():
            self.mine.put(self.key(key), copy)

    def kept(
        self,
        key: str,
        entry: Entry,
        *,
        fresh_seconds: float,
        kept_seconds: float,
        tags: Sequence[str],
        token: str,
        generation: int,
        shared: bool,
    ) -> Plan[None]:
        """Store an entry, unless what it was loaded for was dropped since `generation` began.

        Parameters
        ----------
        kept_seconds : float
            From now, the time in which it is fresh included.
        token : str
            Of the lease that is given back by this; empty: store it whoever has one.
        shared : bool
            ``False``: only in this process.
        """
        began, times = self.clock.monotonic(), Times(0.0, fresh_seconds, kept_seconds)
        if entry.value is not None and len(entry.value) > self.limits.value_bytes:
            if token:
                yield from self.released(key, token)
            return
        outcome = Stored.KEPT
        if shared:
            outcome = yield from self._stored(key, entry, times, tags, token)
        if outcome is not Stored.REVOKED and generation == self.generation:
            copy = self._copy(entry, began, times, tuple(tags))
            self.mine.put(self.key(key), copy)

    def _stored(self, key: str, entry: Entry, times: Times, tags: Sequence[str], token: str) -> Plan[Stored]:
        digest, shelf = self._place(key)
        data = written(entry, self._compressor, self.name)
        ends = [min(round(seconds * 1e6), _LONGEST_US) for seconds in (times.fresh, times.kept)]
        names = [self._own_tag, *(self._tag(tag) for tag in tags)]
        try:
            yield from self._paid(shelf)
            told: tuple[Argument, ...] = ("put", digest, token, *ends, self.limits.shelf_bytes, data, *names)
            outcome = _numbers((yield Run(STORE, self._object(shelf), told)), 3)[0]
        except SharedStateUnavailableError as error:
            yield from self._mended(shelf, error)
            return Stored.KEPT  # by this process
        if outcome == Stored.KEPT:
            self._metrics.count("collectors_cache_raw_bytes_total", amount=len(entry.value or b""))
            codec = codec_of(data).name.lower()
            self._metrics.count("collectors_cache_stored_bytes_total", codec, amount=len(data))
        return Stored(outcome) if outcome in set(Stored) else Stored.KEPT

    def released(self, key: str, token: str) -> Plan[None]:
        """Give a lease back without having loaded anything."""
        digest, shelf = self._place(key)
        try:
            yield Run(SHELF, self._object(shelf), ("release", digest, token))
        except SharedStateUnavailableError:
            return  # it ends by itself

    def renew(self, key: str, token: str, seconds: float) -> None:
        """Prolong a lease to so many seconds from now, blocking."""
        digest, shelf = self._place(key)
        self.store.run(SHELF, self._object(shelf), ("renew", digest, token, round(seconds * 1e6)))

    # --- dropping ----------------------------------------------------------------------------------------------

    def dropped(self, key: str) -> Plan[bool]:
        """Drop one entry; return whether that is done everywhere already."""
        digest, shelf = self._place(key)
        self._drop_here(key, None)
        done = yield from self._done((shelf,), "drop", digest)
        self._drop_here(key, None)  # somebody may have taken it in between
        return done

    def dropped_tag(self, tag: str | None) -> Plan[bool]:
        """Drop all entries with a tag, or all of this cache; return whether that is done everywhere already."""
        self._drop_here(None, tag)
        name = self._own_tag if tag is None else self._tag(tag)
        done = yield from self._done(range(SHELVES), "drop_tag", name)
        self._drop_here(None, tag)
        return done

    def _drop_here(self, key: str | None, tag: str | None) -> None:
        with self._lock:
            self.generation += 1
        if key is None:
            self.mine.pop_all(self.name, tag)
        else:
            self.mine.pop(self.key(key))

    def _done(self, shelves: Sequence[int], operation: str, name: str) -> Plan[bool]:
        for shelf in shelves:
            self._owe(shelf, operation, name)
        done = True
        for shelf in shelves:
            try:
                yield from self._paid(shelf)
            except SharedStateUnavailableError as error:
                yield from self._mended(shelf, error)
                done = done and not self._owed.get(shelf)
        return done

    def _owe(self, shelf: int, operation: str, name: str) -> None:
        with self._lock:
            owed = self._owed.setdefault(shelf, {})
            if _ALL not in owed:
                owed[operation, name] = None
            if len(owed) > OWED_MOST:
                self._owed[shelf] = {_ALL: None}

    def _paid(self, shelf: int) -> Plan[None]:
        """Drop on a shelf what was to be dropped while the store was away."""
        while (owed := self._next_owed(shelf)) is not None:
            more = _numbers((yield Run(SHELF, self._object(shelf), owed)), 1)[0]
            if not more:
                self._forgive(shelf, owed)

    def _next_owed(self, shelf: int) -> tuple[str, str] | None:
        if shelf not in self._owed:  # nearly always: no lock then
            return None
        with self._lock:
            return next(iter(self._owed.get(shelf, ())), None)

    def _forgive(self, shelf: int, owed: tuple[str, str]) -> None:
        with self._lock:
            left = self._owed.get(shelf, {})
            left.pop(owed, None)
            if not left:
                self._owed.pop(shelf, None)

    def _mended(self, shelf: int, error: SharedStateUnavailableError) -> Plan[None]:
        """Remove a shelf on which something lies that is none of ours: it is a cache."""
        if error.kind != "wrong data":
            return
        try:
            yield Run(SHELF, self._object(shelf), _ALL)
        except SharedStateUnavailableError:
            return
        with self._lock:
            self._owed.pop(shelf, None)

    # --- names and times ---------------------------------------------------------------------------------------

    def _copy(self, entry: Entry, now: float, times: Times, tags: tuple[str, ...] | None) -> Copy:
        fresh_until = now + times.fresh
        return Copy(
            entry,
            believed_until=min(now + self.limits.local_seconds, fresh_until),
            early_from=fresh_until - entry.load_seconds * self._early,
            stored_at=now - times.age,
            fresh_until=fresh_until,
            kept_until=now + times.kept,
            tags=tags,
        )

    def _place(self, key: str) -> tuple[str, int]:
        digest = blake2b(f"{self.name}\0{key}".encode(), digest_size=16).hexdigest()
        return digest, int(digest[:4], 16) % SHELVES

    def _object(self, shelf: int) -> str:
        return f"{self._tenant}:cache:{shelf}"

    def _tag(self, tag: str) -> str:
        return self._own_tag + blake2b(tag.encode(), digest_size=16).hexdigest()


def _numbers(reply: Reply, count: int) -> list[int]:
    """Return the first items of a reply if they are so many numbers.

    Raises
    ------
    SharedStateUnavailableError
        If they are not.
    """
    numbers = [item for item in reply[:count] if isinstance(item, int)]
    if len(numbers) != count:
        raise SharedStateUnavailableError(
            "a cache's store gave an answer without sense", kind="malformed reply", one_object=True
        )
    return numbers
