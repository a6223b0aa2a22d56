"""A cache for bytes that somebody else loads and checks: an HTTP client's replies, say, with rules of their own."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.patterns.cache_entry import Entry, mark_of
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy, Tier
from collectors_dagster.patterns.entry_store import EntryStore
from collectors_dagster.patterns.local_copies import Copy, LocalCopies
from collectors_dagster.patterns.metrics import UNCOUNTED
from collectors_dagster.patterns.observers import MetricsSink
from collectors_dagster.patterns.plans import Plan, aperform, perform
from collectors_dagster.patterns.shared_state import SharedStore

T = TypeVar("T")

_TIERS = CachePolicy()
"""By its time a value counts to one of the usual tiers."""


class Found(NamedTuple):
    """What a cache holds under a key.

    Attributes
    ----------
    age_seconds : float
        Since it was put there.
    fresh_seconds : float
        How long it may be used as it is; 0 or less: it is kept to be checked (``If-None-Match``), or for when that
        fails.
    """

    value: bytes
    age_seconds: float
    fresh_seconds: float


class ByteCache:
    """Keeps bytes by key, in this process and in the store, within a tenant's size; never fails for the store's sake.

    Methods come in pairs, blocking and awaiting: ``find`` and ``get``, ``keep`` and ``put``, ``forget`` and ``drop``,
    ``forget_tag`` and ``drop_tag``, ``forget_all`` and ``clear``.

    Parameters
    ----------
    name : str
        Of what is kept, e.g. ``spotify-replies``: keys of different caches do not meet, but share the tenant's size.
    tenant : str
        Whose it is; empty for what belongs to the whole deployment.
    copies : LocalCopies or None
        Shared by the caches of a process, so that they are bounded together; ``None``: its own.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> clock = ManualClock()
    >>> replies = ByteCache("replies", store=MemoryStore(clock), clock=clock, tenant="acme")
    >>> replies.keep("/v1/me", b"...", 30.0, keep_seconds=3600.0)
    >>> clock.sleep(40.0)
    >>> replies.find("/v1/me")
    Found(value=b'...', age_seconds=40.0, fresh_seconds=-10.0)
    """

    def __init__(
        self,
        name: str,
        *,
        store: SharedStore,
        clock: Clock,
        tenant: str = "",
        limits: CacheLimits | None = None,
        copies: LocalCopies | None = None,
        metrics: MetricsSink = UNCOUNTED,
    ) -> None:
        self.name = name
        self._clock = clock
        self._store = store
        self._metrics = metrics
        self._entries = EntryStore(
            name,
            store=store,
            clock=clock,
            tenant=tenant,
            limits=limits or CacheLimits(),
            copies=copies,
            metrics=metrics,
        )

    def find(self, key: str) -> Found | None:
        """Return what is kept under a key, or ``None``."""
        return self._perform(self._found(key))

    async def get(self, key: str) -> Found | None:
        """Return what is kept under a key, or ``None``."""
        return await self._aperform(self._found(key))

    def keep(
        self, key: str, value: bytes, ttl_seconds: float, *, keep_seconds: float = 0.0, tags: Sequence[str] = ()
    ) -> None:
        """Keep a value as fresh for `ttl_seconds`, and for `keep_seconds` after that; then it is gone.

        One that was found to be still right is kept again with its new time.

        Raises
        ------
        ValueError
            If a time is negative.
        """
        self._perform(self._kept(key, value, ttl_seconds, keep_seconds, tags))

    async def put(
        self, key: str, value: bytes, ttl_seconds: float, *, keep_seconds: float = 0.0, tags: Sequence[str] = ()
    ) -> None:
        """Keep a value; see :meth:`keep`."""
        await self._aperform(self._kept(key, value, ttl_seconds, keep_seconds, tags))

    def forget(self, key: str) -> bool:
        """Drop what is kept under a key; ``False``: the store is away, and drops it as soon as it is back."""
        return self._perform(self._entries.dropped(key))

    async def drop(self, key: str) -> bool:
        """Drop what is kept under a key; see :meth:`forget`."""
        return await self._aperform(self._entries.dropped(key))

    def forget_tag(self, tag: str) -> bool:
        """Drop all that was kept with a tag."""
        return self._perform(self._entries.dropped_tag(tag))

    async def drop_tag(self, tag: str) -> bool:
        """Drop all that was kept with a tag."""
        return await self._aperform(self._entries.dropped_tag(tag))

    def forget_all(self) -> bool:
        """Drop all that this cache keeps for its tenant."""
        return self._perform(self._entries.dropped_tag(None))

    async def clear(self) -> bool:
        """Drop all that this cache keeps for its tenant."""
        return await self._aperform(self._entries.dropped_tag(None))

    def _found(self, key: str) -> Plan[Found | None]:
        now = self._clock.monotonic()
        copy = self._entries.mine.get(self._entries.key(key))
        if copy is None or now >= copy.believed_until:
            taken = yield from self._entries.taken(key)
            copy, now = taken.copy if taken.shared else copy, self._clock.monotonic()
        found = _as_found(copy, now)
        result = "miss" if found is None else "hit" if found.fresh_seconds > 0 else "stale"
        tier = copy.entry.tier if copy else Tier.WARM
        self._metrics.count("collectors_cache_requests_total", tier, result)
        return found

    def _kept(self, key: str, value: bytes, ttl: float, keep: float, tags: Sequence[str]) -> Plan[None]:
        if not ttl >= 0 or not keep >= 0:
            raise ValueError(f"ttl_seconds and keep_seconds are at least 0, not {ttl} and {keep}")
        yield from self._entries.kept(
            key,
            Entry(value, _TIERS.tier_of(ttl), mark=mark_of(value)),
            fresh_seconds=ttl,
            kept_seconds=ttl + keep,
            tags=tags,
            token="",
            generation=self._entries.generation,
            shared=True,
        )

    def _perform(self, plan: Plan[T]) -> T:
        return perform(plan, self._store, self._clock)

    async def _aperform(self, plan: Plan[T]) -> T:
        return await aperform(plan, self._store, cast("AsyncClock", self._clock))  # made with one that can wait


def _as_found(copy: Copy | None, now: float) -> Found | None:
    if copy is None or copy.entry.value is None or now >= copy.kept_until:
        return None
    return Found(copy.entry.value, now - copy.stored_at, copy.fresh_until - now)
