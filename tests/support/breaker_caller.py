"""A process that calls through a shared circuit: ``python -m tests.support.breaker_caller URL MODE``.

``fail NAME``: five failing calls, then prints how many ran. ``probe``: for each line ``NAME`` on standard input, four
threads ask for leave at once; prints how many got it, and keeps what it got.
"""

import sys
import threading
from dataclasses import replace

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import CircuitOpenError, ServiceFailedError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, Ticket, failed_if_transient

CLOCK = SystemClock()
DOOMED = BreakerPolicy(0, 3600.0, failure_ratio=0.5, minimum_calls=10)
"""Its pause outlasts twenty processes on the slowest machine: a probe in between would be counted with the doomed."""
PROBED = BreakerPolicy(1, 0.05, probes=3, lease_seconds=1.5)
PATIENT = "patient"
"""Circuits with such a name give the same probes a minute: on a busy machine a live holder may be late."""


def probed(name: str) -> BreakerPolicy:
    """Return the policy of a circuit that is probed."""
    return replace(PROBED, lease_seconds=60.0) if name.startswith(PATIENT) else PROBED


THREADS = 4


def circuit(url: str, name: str, policy: BreakerPolicy) -> CircuitBreaker:
    """Return the circuit `name` in the Redis at `url`."""
    patient = LinkOptions(connect_seconds=5.0, answer_seconds=5.0)  # a busy machine is no absent Redis
    store = RedisStore(parse_address(url), options=patient)
    return CircuitBreaker(name, policy, classify=failed_if_transient, clock=CLOCK, store=store)


def calls_run(breaker: CircuitBreaker, calls: int) -> int:
    """Make failing calls; return how many ran."""
    ran: list[int] = []

    def doomed() -> None:
        ran.append(1)
        raise ServiceFailedError("503", service="doomed", operation="call")

    for _ in range(calls):
        try:
            breaker.call(doomed)
        except (ServiceFailedError, CircuitOpenError):
            continue
    return len(ran)


def leaves_got(breaker: CircuitBreaker) -> int:
    """Ask from several threads at once; return how many were let through."""
    barrier = threading.Barrier(THREADS)
    got: list[Ticket] = []

    def ask() -> None:
        barrier.wait()
        try:
            got.append(breaker.begin())
        except CircuitOpenError:
            return

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(got)


def tell(number: int) -> None:
    """Answer on standard output."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Do as told."""
    url, mode, *words = sys.argv[1:]
    if mode == "fail":
        tell(calls_run(circuit(url, words[0], DOOMED), 5))
        return
    for line in sys.stdin:
        tell(leaves_got(circuit(url, line.strip(), probed(line.strip()))))


if __name__ == "__main__":
    main()
