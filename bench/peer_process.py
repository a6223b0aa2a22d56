"""A process that uses a peer, as several do at once: ``python -m bench.peer_process MODE PEER URL OPTIONS``.

``fail``: five failing calls through a shared circuit; tells how many ran. ``probe``: for each line on standard input,
a circuit's name, four threads call at once what takes a second; tells how many calls began. ``take``: says "ready",
waits for a line, takes from a shared limit for some seconds by a wall clock that is wrong. ``decide``: the same, but
tells the seconds until the first decision, whatever it is. One line of JSON each.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from bench import peers

THREADS = 4
LOOK_SECONDS = 0.5
PROBE_SECONDS = 1.0


def fail(peer: str, url: str, options: dict[str, Any]) -> None:
    """Make five failing calls."""
    call = peers.shared_breaker(peer, url, options["circuit"], failures=10, pause_seconds=3600)
    tell({"ran": calls_run(call, 5)})


def calls_run(call: Callable[..., Any], calls: int) -> int:
    """Make failing calls; return how many ran. Neither the call's own error nor a refusal is the peer's fault."""
    ran: list[int] = []

    def doomed() -> None:
        ran.append(1)
        raise ConnectionError("503")

    for _ in range(calls):
        before = len(ran)
        try:
            call(doomed)
        except Exception as error:
            own = isinstance(error, ConnectionError) and len(ran) > before
            if not own and not peers.refuses(error):
                raise
    return len(ran)


def probe(peer: str, url: str, options: dict[str, Any]) -> None:
    """Let four threads call at once, again and again."""
    for line in sys.stdin:
        call = peers.shared_breaker(peer, url, line.strip(), failures=1, pause_seconds=options["pause"])
        tell({"began": calls_begun(call)})


def calls_begun(call: Callable[..., Any]) -> int:
    """Call from several threads at once what takes a second; return how many calls began before any ended."""
    barrier = threading.Barrier(THREADS)
    began: list[int] = []
    faults: list[Exception] = []

    def trial() -> None:
        began.append(1)
        time.sleep(PROBE_SECONDS)  # noqa: TID251 - a service that takes a second

    def ask() -> None:
        barrier.wait()
        try:
            call(trial)
        except Exception as error:  # noqa: BLE001 - raised below if it is the peer's fault
            faults.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    time.sleep(LOOK_SECONDS)  # noqa: TID251 - all have asked by then, and none has an answer
    found = len(began)
    for thread in threads:
        thread.join(THREADS * PROBE_SECONDS)
    for error in faults:
        if not peers.refuses(error):
            raise error
    return found


def take(peer: str, url: str, options: dict[str, Any]) -> None:
    """Take from a shared limit as fast as it grants."""
    monotonic, wall, wall_ns, skew = time.monotonic, time.time, time.time_ns, options["skew"]
    time.time = lambda: wall() + skew
    time.time_ns = lambda: wall_ns() + int(skew * 1e9)
    granted = asked = 0
    taken = peers.shared_limiter(peer, url, rate=options["rate"], burst=options["burst"])
    tell("ready")
    sys.stdin.readline()
    began = monotonic()
    while monotonic() - began < options["seconds"]:
        asked += 1
        if taken():
            granted += 1
        else:
            time.sleep(0.001)  # noqa: TID251 - these peers do not wait themselves
    tell({"granted": granted, "asked": asked, "first": began, "last": monotonic()})


def decide(peer: str, url: str, options: dict[str, Any]) -> None:
    """Ask once."""
    peers.loaded(peer)
    tell("ready")
    sys.stdin.readline()
    began = time.monotonic()
    try:
        if peer in peers.SHARED_BREAKERS:
            peers.shared_breaker(peer, url, "bench", failures=10, pause_seconds=3600)(lambda: None)
        else:
            peers.shared_limiter(peer, url, rate=1000, burst=100)()
    except TypeError:  # that is no decision but a mistake of its own
        raise
    except Exception as error:  # noqa: BLE001 - to raise is a decision
        told = type(error).__name__
    else:
        told = "granted"
    tell({"seconds": time.monotonic() - began, "decision": told})


def tell(told: object) -> None:
    print(json.dumps(told), flush=True)


MODES = {"fail": fail, "probe": probe, "take": take, "decide": decide}

if __name__ == "__main__":
    MODES[sys.argv[1]](sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
