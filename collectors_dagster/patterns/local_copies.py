"""Copies in this process: bounded in all and per tenant, those used longest ago go first."""

import threading
from collections.abc import Callable

from cachetools import LRUCache

from collectors_dagster.patterns.cache_entry import Entry
from collectors_dagster.patterns.forks import renew_in_children

COPY_BYTES = 512
"""What a copy costs besides its value."""

Key = tuple[str, str]
"""Name of the cache, and the key in it."""


class Copy:
    """An entry as this process knows it. Times are monotonic seconds.

    Attributes
    ----------
    believed_until : float
        Until then nobody is asked.
    early_from : float
        From then on an early refresh has a chance.
    fresh_until, kept_until : float
        The entry's own times.
    """

    __slots__ = ("believed_until", "early_from", "entry", "fresh_until", "kept_until", "stored_at", "tags")

    def __init__(
        self,
        entry: Entry,
        *,
        believed_until: float,
        early_from: float,
        stored_at: float,
        fresh_until: float,
        kept_until: float,
        tags: tuple[str, ...] | None,
    ) -> None:
        self.entry = entry
        self.believed_until = believed_until
        self.early_from = early_from
        self.stored_at = stored_at
        self.fresh_until = fresh_until
        self.kept_until = kept_until
        self.tags = tags
        """``None``: it came from another process, and they are not known."""


class TenantCopies:
    """Copies of one tenant; safe to share between threads."""

    def __init__(self, lock: threading.Lock, most_bytes: int, grown: Callable[[], None]) -> None:
        self._most_bytes = most_bytes
        self._grown = grown
        self.begin(lock)

    def begin(self, lock: threading.Lock) -> None:
        """Begin without copies, under the lock that all tenants share."""
        self._lock = lock
        self.lru: LRUCache[Key, Copy] = LRUCache(self._most_bytes, getsizeof=_size)

    def get(self, key: Key) -> Copy | None:
        """Return a copy; it is the one used last then."""
        with self._lock:
            try:
                return self.lru[key]
            except KeyError:
                return None

    def put(self, key: Key, copy: Copy) -> None:
        """Keep a copy; one that is larger than all may be is not kept."""
        with self._lock:
            self.lru.pop(key, None)
            if _size(copy) <= self.lru.maxsize:
                self.lru[key] = copy
                self._grown()

    def pop(self, key: Key) -> None:
        """Forget a copy."""
        with self._lock:
            self.lru.pop(key, None)

    def pop_all(self, name: str, tag: str | None) -> None:
        """Forget the copies of one cache, or of those the ones that have a tag or may have it."""
        with self._lock:
            for key in [key for key, copy in self.lru.items() if key[0] == name and _may_have(copy, tag)]:
                self.lru.pop(key, None)

    @property
    def bytes_in_use(self) -> int:
        """What the copies cost."""
        return int(self.lru.currsize)


class LocalCopies:
    """All copies of this process.

    Examples
    --------
    >>> copies = LocalCopies(10_000, 5_000)
    >>> entry = Entry(b"x" * 1000)
    >>> copy = Copy(entry, believed_until=1, early_from=1, stored_at=0, fresh_until=1, kept_until=1, tags=())
    >>> for number in range(9):
    ...     copies.of("acme").put(("numbers", str(number)), copy)
    >>> copies.of("acme").bytes_in_use
    4536
    """

    def __init__(self, most_bytes: int, tenant_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.tenant_bytes = min(most_bytes, tenant_bytes)
        self._tenants: dict[str, TenantCopies] = {}
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin without copies: at a fork another thread may have been changing them."""
        self._lock = threading.Lock()
        for each in self._tenants.values():
            each.begin(self._lock)

    def of(self, tenant: str) -> TenantCopies:
        """Return a tenant's copies."""
        with self._lock:
            found = self._tenants.get(tenant)
            if found is None:
                found = self._tenants[tenant] = TenantCopies(self._lock, self.tenant_bytes, self._shrink)
            return found

    def _shrink(self) -> None:
        """Take from who has most until all fits. The lock is held."""
        while sum(each.bytes_in_use for each in self._tenants.values()) > self.most_bytes:
            max(self._tenants.values(), key=lambda each: each.bytes_in_use).lru.popitem()


def _size(copy: Copy) -> int:
    return COPY_BYTES + len(copy.entry.value or b"")


def _may_have(copy: Copy, tag: str | None) -> bool:
    return tag is None or copy.tags is None or tag in copy.tags
