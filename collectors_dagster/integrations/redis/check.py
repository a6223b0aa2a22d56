"""Whether shared state works from here, node by node, and what to do if not."""

from collections.abc import Sequence
from dataclasses import dataclass

from collectors_dagster.clock import Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis.store import RedisStore
from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

_KEYS = 48
"""So many names fall on every master of a cluster of usual size."""
_REMEDIES = {
    "unreachable": "is it running, is redis.host or redis.url right, does TLS fit (redis.tls, redis.tls_ca_file)?",
    "timeout": "is it overloaded or far away? redis.answer_timeout_seconds and redis.connect_timeout_seconds say when",
    "authentication": "check redis.user and redis.password, or those in redis.url",
    "permission": "the user needs +evalsha, +eval and what scripts call, on the keys of redis.prefix",
    "read-only": "this is a replica: name its master, or write redis+sentinel:// or redis+cluster:// in redis.url",
    "loading": "it reads its data: wait",
    "cluster down": "the cluster has slots without a master: see `redis-cli cluster info`",
    "moving": "is it a cluster? Write redis+cluster:// in redis.url",
    "out of memory": "raise maxmemory, or give it a maxmemory-policy that lets keys go",
    "wrong data": "something else writes keys of redis.prefix: choose another",
    "refused": "it takes no writes at present: see its log (disk full, too few replicas)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one server said.

    Attributes
    ----------
    node : str
        Empty where there is only one.
    problem : str
        Empty: all is well.
    milliseconds : float
        Of the answer that took longest.
    """

    node: str
    problem: str
    remedy: str
    milliseconds: float


def examine(store: RedisStore, clock: Clock) -> Sequence[Finding]:
    """Write through every master, and return what came of it."""
    _look(store, "collectors:check:first", clock)  # connects, and learns where slots lie
    found: dict[str, Finding] = {}
    for number in range(_KEYS):
        key = f"collectors:check:{number}"
        node = store.fault_domain(key)
        one = found.get(node)
        if one is None or not one.problem:
            new = _look(store, key, clock)
            found[node] = new if one is None or new.problem or new.milliseconds > one.milliseconds else one
    return list(found.values())


def _look(store: RedisStore, key: str, clock: Clock) -> Finding:
    node, began, problem = store.fault_domain(key), clock.monotonic(), ""
    try:
        store.run(STORE_CHECK, key)
    except SharedStateUnavailableError as error:
        problem = error.kind
    return Finding(node, problem, _REMEDIES.get(problem, ""), (clock.monotonic() - began) * 1000)


def _check(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    record["seen"] = 1
    return [now], 1000


STORE_CHECK = Step("store_check", _check, repeatable=True)
"""Whether state can be written there."""
