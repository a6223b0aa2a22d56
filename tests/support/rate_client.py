"""A process that takes from a shared limit as fast as it may, by clocks of its own; started by tests and benchmarks."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import RateLimitExceededError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.rate_limiter import RateLimiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy
from collectors_dagster.patterns.shared_state import Argument, Reply, Step


class Skewed(SystemClock):
    """A machine's clock that is wrong by so many seconds, also in what it calls monotonic."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return super().monotonic() + abs(self.seconds)


class Counted:
    """A store that counts how often it is asked."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.asked = 0

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.asked += 1
        return self.store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.asked += 1
        return await self.store.arun(step, key, arguments)


def main() -> None:
    """Read options, say that we are ready, wait for a line, run, and tell."""
    options = json.loads(sys.argv[1])
    clock = Skewed(options.get("skew", 0.0))
    patient = LinkOptions(connect_seconds=2.0, answer_seconds=2.0)
    with RedisStore(parse_address(options["url"]), prefix=options["prefix"], options=patient) as bare:
        store = Counted(bare)
        policy = RatePolicy(options["rate"], options["burst"], Algorithm(options.get("algorithm", "token_bucket")))
        limiter = RateLimiter(options.get("name", "api"), policy, store=store, clock=clock)
        bare.fault_domain("warm")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        end = clock.monotonic() + options["seconds"]
        cost = options.get("cost", 1)
        limiter.pause(options.get("ban", 0.0))
        began = time.monotonic()
        if options.get("awaiting"):
            granted = asyncio.run(_awaiting(limiter, clock, end, cost, options["awaiting"]))
        else:
            granted = _blocking(limiter, clock, end, cost)
        sys.stdout.write(
            json.dumps({"granted": granted, "asked": store.asked, "first": began, "last": time.monotonic()}) + "\n"
        )


def _blocking(limiter: RateLimiter, clock: Skewed, end: float, cost: int) -> int:
    granted = 0
    while (left := end - clock.monotonic()) > 0:
        try:
            limiter.acquire(timeout_seconds=left, cost=cost)
        except RateLimitExceededError:
            break
        granted += cost
    return granted


async def _awaiting(limiter: RateLimiter, clock: Skewed, end: float, cost: int, tasks: int) -> int:
    async def one() -> int:
        granted = 0
        while (left := end - clock.monotonic()) > 0:
            try:
                await limiter.aacquire(timeout_seconds=left, cost=cost)
            except RateLimitExceededError:
                break
            granted += cost
        return granted

    return sum(await asyncio.gather(*(one() for _ in range(tasks))))


if __name__ == "__main__":
    main()
