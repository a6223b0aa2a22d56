"""Shared state in each place where it may lie, for tests that hold for all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from uuid import uuid4

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.integrations.redis.script import SCRIPTS
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, ManyAtOnce, Record, Reply, Step

PLACES = ("memory", "redis", "cluster")
TEST_SCRIPTS = Path(__file__).parents[1] / "data" / "scripts"
PATIENT = LinkOptions(connect_seconds=2.0, answer_seconds=2.0)
"""For tests in which a busy machine must not look like an absent Redis."""


@dataclass(frozen=True)
class SharedPlace:
    """A store, and the way in which time passes there: in memory at once, in Redis really (keep it short there)."""

    store: ManyAtOnce
    pass_time: Callable[[float], object]


def in_memory() -> SharedPlace:
    """Return an empty store in memory."""
    clock = ManualClock()
    return SharedPlace(MemoryStore(clock), clock.sleep)


@contextmanager
def in_redis(url: str, options: LinkOptions = PATIENT) -> Iterator[SharedPlace]:
    """Yield a store in a Redis, under a prefix of its own; besides our scripts it knows those of the tests."""
    with redis_store(url, options) as store:
        yield SharedPlace(store, Event().wait)


def redis_store(url: str, options: LinkOptions = PATIENT) -> RedisStore:
    """Return the same without a place."""
    prefix = f"test-{uuid4().hex[:8]}:"
    return RedisStore(parse_address(url), prefix=prefix, options=options, scripts=(SCRIPTS, TEST_SCRIPTS))


def _tally(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    by, keep_ms = int(arguments[0]), int(arguments[1])
    record["count"] = record.get("count", 0) + by
    return [record["count"], now], keep_ms


TALLY = Step("tally", _tally)
"""Counts: the smallest step there is, with its Lua half in tests/data/scripts."""
