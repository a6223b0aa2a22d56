"""Caches for tests: a source that counts its loads, a store that can be away, metrics that can be read."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.cache import Cache
from collectors_dagster.patterns.cache_codecs import JSON
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step


def never(_low: float = 0.0) -> float:
    """Return no luck at all: no jitter, and no early refresh."""
    return 0.0


def json_cache(
    store: SharedStore, clock: Clock | None = None, policy: CachePolicy | None = None, **options: Any
) -> Cache[Any]:
    """Return a cache of JSON values."""
    options.setdefault("random", random.Random(7).random)
    name = options.pop("name", "artists")
    return Cache(name, policy or CachePolicy(), codec=JSON, store=store, clock=clock or SystemClock(), **options)


def no_local(**options: Any) -> CacheLimits:
    """Return limits with which a process never believes its own copy."""
    return CacheLimits(local_seconds=0.0, **options)


class Source:
    """Where values come from; counts how often it was asked, and how many asked at once."""

    def __init__(self, value: Any = "value") -> None:
        self.value = value
        self.error: Exception | None = None
        self.loads = 0
        self.at_once = 0
        self.most_at_once = 0
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        """Load, once :attr:`open` is set."""
        with self._lock:
            self.loads += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            assert self.open.wait(30)
            if self.error is not None:
                raise self.error
            return self.value
        finally:
            with self._lock:
                self.at_once -= 1


class Doubtful:
    """A store that can be away."""

    def __init__(self, store: SharedStore) -> None:
        self.store = store
        self.away = False

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run a step, or say that nobody is there."""
        if self.away:
            raise SharedStateUnavailableError("away")
        return self.store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run a step, or say that nobody is there."""
        if self.away:
            raise SharedStateUnavailableError("away")
        return await self.store.arun(step, key, arguments)


class Counted:
    """Metrics that can be read."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.observed: dict[tuple[str, ...], list[float]] = {}

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self.counts[family, *map(str, labels)] += amount  # type: ignore[assignment]  # a Counter of floats

    def observe(self, family: str, *labels: str, value: float, count: float = 1.0) -> None:
        """Note a value."""
        self.observed.setdefault((family, *map(str, labels)), []).append(value)

    def requests(self, tier: str = "warm") -> dict[str, int]:
        """Return the answers of a tier by result."""
        family = "collectors_cache_requests_total"
        return {key[2]: int(value) for key, value in self.counts.items() if key[:2] == (family, tier)}
