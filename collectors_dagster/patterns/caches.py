"""The caches of one process, as the settings describe them: one store, one bound on copies, one set of metrics."""

from collections.abc import Callable
from typing import Any, TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.patterns.byte_cache import ByteCache
from collectors_dagster.patterns.cache import Cache
from collectors_dagster.patterns.cache_codecs import JSON, ValueCodec
from collectors_dagster.patterns.cache_policy import CacheSettings, Tier, cache_limits, cache_policy
from collectors_dagster.patterns.local_copies import LocalCopies
from collectors_dagster.patterns.metrics import UNCOUNTED
from collectors_dagster.patterns.observers import MetricsSink
from collectors_dagster.patterns.shared_state import SharedStore

T = TypeVar("T")


class Caches:
    """Makes caches that share what a process has of them.

    Parameters
    ----------
    settings : CacheSettings
        ``patterns.cache``.
    random : callable
        Like ``random.Random().random``.

    Examples
    --------
    ::

        caches = Caches(settings.patterns.cache, store=store, clock=clock, random=random.random)
        artists = caches.json("artists", Tier.COLD, tenant="acme")
        artist = artists.get(artist_id, lambda: fetched(artist_id))
    """

    def __init__(
        self,
        settings: CacheSettings,
        *,
        store: SharedStore,
        clock: Clock,
        random: Callable[[], float],
        metrics: MetricsSink = UNCOUNTED,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._limits = cache_limits(settings)
        self._copies = LocalCopies(self._limits.local_bytes, self._limits.local_tenant_bytes)

    def json(self, name: str, tier: Tier, *, tenant: str = "") -> Cache[Any]:
        """Return a cache of JSON values."""
        return self.of(name, tier, codec=JSON, tenant=tenant)

    def of(self, name: str, tier: Tier, *, codec: ValueCodec[T], tenant: str = "") -> Cache[T]:
        """Return a cache of values that a codec reads and writes."""
        return Cache(
            name,
            cache_policy(self._settings, tier),
            codec=codec,
            store=self._store,
            clock=self._clock,
            random=self._random,
            tenant=tenant,
            copies=self._copies,
            metrics=self._metrics,
        )

    def bytes(self, name: str, *, tenant: str = "") -> ByteCache:
        """Return a cache of bytes whose times their owner says."""
        return ByteCache(
            name,
            store=self._store,
            clock=self._clock,
            tenant=tenant,
            limits=self._limits,
            copies=self._copies,
            metrics=self._metrics,
        )
