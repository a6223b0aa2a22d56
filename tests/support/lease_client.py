"""A process that holds a permit, leads or has shares until it is killed; started by tests."""

import json
import sys
import threading
import time

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.bulkhead import BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.leadership import Leadership, Shares

PATIENT = LinkOptions(connect_seconds=2.0, answer_seconds=2.0)


def main() -> None:
    """Take what is asked for, say so, and hold it until somebody closes our input."""
    options = json.loads(sys.argv[1])
    clock = SystemClock()
    with RedisStore(parse_address(options["url"]), prefix=options["prefix"], options=PATIENT) as store:
        if options["what"] == "permit":
            policy = BulkheadPolicy(options["limit"], lease_seconds=options["lease"])
            bulkhead = SharedBulkhead("b", policy, store=store, clock=clock, random=lambda: 0.5)
            with bulkhead.protect():
                _tell({"in_use": 1})
                sys.stdin.readline()
            return
        leadership = Leadership("role", options["name"], store=store, clock=clock, lease_seconds=options["lease"])
        shares = Shares(
            "g",
            options["name"],
            store=store,
            clock=clock,
            heartbeat_seconds=options["lease"] / 3,
            dead_seconds=options["lease"],
        )
        stop = threading.Event()

        def wait_for_the_end() -> None:
            sys.stdin.readline()
            stop.set()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
        while not stop.is_set():
            token = leadership.turn()
            tokens = dict(shares.turn(options["shares"]))
            _tell({"leads": token, "shares": tokens, "at": time.monotonic()})
            stop.wait(options["lease"] / 6)
        leadership.resign()
        shares.depart()


def _tell(told: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
