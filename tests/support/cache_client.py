"""A process that asks a shared cache as often as it may; started by tests and benchmarks."""

import json
import sys
import threading
import time
from collections.abc import Callable

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy
from tests.support.caches import json_cache

PATIENT = LinkOptions(connect_seconds=2.0, answer_seconds=2.0)


def main() -> None:
    """Read options, say that we are ready, wait for a line, ask, and tell how often we had to load."""
    options = json.loads(sys.argv[1])
    loads: list[float] = []

    def load() -> str:
        loads.append(time.monotonic())
        if options.get("say"):
            _tell("loading")
        threading.Event().wait(options["load"])
        return "value"

    with RedisStore(parse_address(options["url"]), prefix=options["prefix"], options=PATIENT) as store:
        limits = CacheLimits(local_seconds=options.get("local", 5.0), lease_seconds=options.get("lease", 10.0))
        policy = CachePolicy(
            hot_seconds=options["ttl"],
            warm_seconds=options["ttl"],
            cold_seconds=options["ttl"],
            stale_while_revalidate_seconds=options.get("stale", 0.0),
            early_refresh_beta=options.get("beta", 0.0),
            limits=limits,
        )
        cache = json_cache(store, SystemClock(), policy, tenant="acme")
        _tell("ready")
        sys.stdin.readline()
        asked = _ask(lambda: cache.get("hot", load), options)
        _tell(json.dumps({"asked": asked, "loads": len(loads), "at": loads}))


def _ask(ask: Callable[[], object], options: dict[str, float]) -> int:
    """Ask in as many threads as we are told, until the time is over."""
    end = time.monotonic() + options["seconds"]
    counts = [0] * int(options.get("threads", 1))
    pause = threading.Event()

    def work(number: int) -> None:
        while True:
            assert ask() == "value"
            counts[number] += 1
            if time.monotonic() >= end:
                return
            pause.wait(options.get("pause", 0.002))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def _tell(told: str) -> None:
    sys.stdout.write(told + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
