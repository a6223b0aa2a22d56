"""Two processes' caches while time passes: each answer was the right one not longer ago than the policy allows."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ServiceFailedError
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy
from collectors_dagster.patterns.memory_store import MemoryStore
from tests.support.caches import Doubtful, json_cache, never
from tests.support.effort import times

KEYS = ("a", "b")
FRESH, STALE, LOCAL = 100.0, 300.0, 5.0


class Fleet(RuleBasedStateMachine):
    """A source whose values are their own times, so that an answer says how old it is."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        store = MemoryStore(self.clock)
        self.stores = [Doubtful(store), Doubtful(store)]
        policy = CachePolicy(
            hot_seconds=FRESH,
            warm_seconds=FRESH,
            cold_seconds=FRESH,
            jitter=0.0,
            early_refresh_beta=0.0,
            stale_while_revalidate_seconds=0.0,
            stale_if_error_seconds=STALE,
            limits=CacheLimits(local_seconds=LOCAL),
        )
        self.caches = [json_cache(each, self.clock, policy, random=never) for each in self.stores]
        self.broken = False
        self.dropped = dict.fromkeys(KEYS, -1e9)
        """When a key was dropped in the store, by a process that could reach it."""
        self.loads: list[float] = []

    def load(self) -> float:
        if self.broken:
            raise ServiceFailedError("no", service="s", operation="o")
        self.loads.append(self.clock.monotonic())
        return self.clock.monotonic()

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 40.0, 99.0, 250.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(broken=st.booleans())
    def break_or_mend(self, *, broken: bool) -> None:
        self.broken = broken

    @rule(which=st.integers(0, 1), away=st.booleans())
    def lose_or_find_the_store(self, which: int, *, away: bool) -> None:
        self.stores[which].away = away

    @rule(which=st.integers(0, 1), key=st.sampled_from(KEYS))
    def drop(self, which: int, key: str) -> None:
        done = self.caches[which].invalidate(key)
        assert done or self.stores[which].away
        if done:
            self.dropped[key] = self.clock.monotonic()

    @rule(which=st.integers(0, 1), key=st.sampled_from(KEYS))
    def get(self, which: int, key: str) -> None:
        now, before = self.clock.monotonic(), len(self.loads)
        try:
            made: Any = self.caches[which].get(key, self.load)
        except ServiceFailedError:
            assert self.broken
            return
        age = now - made
        assert self.loads[before:] in ([], [made])
        assert age < FRESH or (self.broken and age < FRESH + STALE)
        if not self.stores[which].away:
            assert made >= self.dropped[key] or now - self.dropped[key] < LOCAL

    @rule(key=st.sampled_from(KEYS))
    def get_in_both(self, key: str) -> None:
        """Two that reach the store and believe no copy of their own agree, and load once at most."""
        owes = any(cache._entries._owed for cache in self.caches)  # it drops the key when it asks: that costs a load
        if self.broken or owes or any(each.away for each in self.stores):
            return
        self.clock.sleep(LOCAL)
        before = len(self.loads)
        one, other = (cache.get(key, self.load) for cache in self.caches)
        assert one == other
        assert len(self.loads) - before <= 1

    @invariant()
    def nothing_is_under_way(self) -> None:
        assert all(len(cache._flights) == len(cache._refreshes) == 0 for cache in self.caches)


Fleet.TestCase.settings = settings(max_examples=times(20), stateful_step_count=30, deadline=None)
TestFleet = Fleet.TestCase
