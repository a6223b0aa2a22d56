"""All circuits, limits, bulkheads, leaders and shares of a deployment, and what was counted, as shared state knows.

They are found by the directory that processes write (:mod:`collectors_dagster.patterns.reporting_store`), and each is
looked at where it lies. Whatever is there is untrusted: what makes no sense is left out, and said.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns import bulkhead_rules, leadership_rules, rate_rules
from collectors_dagster.patterns.breaker_policy import Terms
from collectors_dagster.patterns.breaker_rule import LOOK, STEP
from collectors_dagster.patterns.circuit_breaker import BreakerReport, report_from
from collectors_dagster.patterns.metrics import Series, decoded
from collectors_dagster.patterns.reporting_rules import READ
from collectors_dagster.patterns.reporting_store import SHARDS, shard_key
from collectors_dagster.patterns.shared_state import Call, ManyAtOnce, Reply

REDIS = "redis"
"""What the guard before shared state is called among circuits."""
SHARED = "shared"
"""The tenant of circuits that are the whole deployment's."""


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A circuit; `name` is the service's, with a point and the instance if it has several."""

    name: str
    tenant: str
    report: BreakerReport


@dataclass(frozen=True, slots=True)
class LimiterView:
    """A rate limit.

    Attributes
    ----------
    waiting_seconds : float or None
        How long one more request would wait; ``None`` where counting does not tell (windows).
    banned_seconds : float
        For how long nothing is granted.
    processes : int
        That asked in the last ten seconds.
    """

    name: str
    tenant: str
    algorithm: str
    requests_per_second: float
    waiting_seconds: float | None
    banned_seconds: float
    processes: int


@dataclass(frozen=True, slots=True)
class BulkheadView:
    """A bulkhead of the fleet."""

    name: str
    tenant: str
    limit: int
    in_use: int
    processes: int


@dataclass(frozen=True, slots=True)
class LeaderView:
    """A role; `holder` is empty while nobody leads."""

    role: str
    tenant: str
    holder: str
    token: int
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class SharesView:
    """A group of instances that divide shares."""

    group: str
    instances: tuple[str, ...]
    owners: dict[str, str]


@dataclass(slots=True)
class Overview:
    """Everything.

    Attributes
    ----------
    sums : dict
        What all processes have counted.
    away : dict
        From what is away (a node of the cluster; empty for all there is) to what is wrong with it.
    damaged : list of str
        Keys at which something else lies.
    """

    circuits: list[CircuitView] = field(default_factory=list)
    limiters: list[LimiterView] = field(default_factory=list)
    bulkheads: list[BulkheadView] = field(default_factory=list)
    leaders: list[LeaderView] = field(default_factory=list)
    shares: list[SharesView] = field(default_factory=list)
    sums: Counter[Series] = field(default_factory=Counter)
    away: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


class Listed(NamedTuple):
    """One line of the directory."""

    step: str
    numbers: tuple[int, ...]
    used_us: int


class Looking:
    """Looks at shared state once.

    Parameters
    ----------
    domain_of : callable
        From a key to the name of what fails together with it.
    dead_seconds : float
        An instance not heard for so long lives no longer.
    """

    def __init__(
        self, store: ManyAtOnce, *, domain_of: Callable[[str], str] = lambda _: "", dead_seconds: float = 6.0
    ) -> None:
        self._store = store
        self._domain_of = domain_of
        self._dead_us = round(dead_seconds * 1e6)
        self._found = Overview()

    def look(self) -> Overview:
        """Return what there is, in the order of names."""
        directory = sorted(self._directory().items())
        self._ask([question for key, listed in directory if (question := self._question(key, listed))])
        return self._found

    def _directory(self) -> dict[str, Listed]:
        directory: dict[str, Listed] = {}
        self._ask([(Call(READ, shard_key(number)), partial(self._read, directory)) for number in range(SHARDS)])
        return directory

    def _read(self, directory: dict[str, Listed], reply: Reply) -> None:
        """Add up what a shard has counted, and add what it lists."""
        count = 2 * _whole(reply[1] if len(reply) > 1 else None)
        texts = [item.decode(errors="replace") if isinstance(item, bytes) else "" for item in reply[2:]]
        for name, amount in zip(texts[:count:2], texts[1:count:2], strict=False):
            series, value = decoded(name), _number(amount)
            if series is not None and value is not None:
                self._found.sums[series] += value  # type: ignore[assignment]  # a Counter adds any numbers
        for key, text in zip(texts[count::2], texts[count + 1 :: 2], strict=False):
            listed = _listed(text)
            if listed is not None and (key not in directory or directory[key].used_us < listed.used_us):
                directory[key] = listed

    def _question(self, key: str, listed: Listed) -> "Question | None":
        """Return how to look at an object and what to do with the answer; None for what nobody looks at."""
        tenant, _, rest = key.partition(":")
        kind, _, name = rest.partition(":")
        tenant = "" if tenant == "all" else tenant
        step, numbers, found = listed.step, listed.numbers, self._found
        if step == STEP.name and kind == "cb" and len(numbers) == len(Terms._fields):
            call = Call(LOOK, key, ("inspect", *numbers))
            return call, lambda reply: found.circuits.append(CircuitView(name, tenant, report_from(reply)))
        if step.startswith("rate_limiter_") and kind == "rate" and len(numbers) == 2 and min(numbers) >= 1:
            return Call(rate_rules.LOOK, key), lambda reply: found.limiters.append(
                _limiter(name, tenant, listed, _wholes(reply, 3))
            )
        if step == bulkhead_rules.ENTER.name and len(numbers) == 1:
            return Call(bulkhead_rules.LOOK, key), lambda reply: found.bulkheads.append(
                BulkheadView(name, tenant, numbers[0], *_wholes(reply, 2))
            )
        if step == leadership_rules.ACQUIRE.name:
            return Call(leadership_rules.LOOK, key), lambda reply: found.leaders.append(_leader(name, tenant, reply))
        if step == leadership_rules.TURN.name:
            call = Call(leadership_rules.LOOK_AT_SHARES, key, (self._dead_us,))
            return call, lambda reply: found.shares.append(SharesView(name, *_divided(reply)))
        return None

    def _ask(self, questions: "Sequence[Question]") -> None:
        """Ask all at once; remember what is wrong where there is no answer, or none that makes sense."""
        replies = self._store.run_many([call for call, _ in questions])
        for (call, take), reply in zip(questions, replies, strict=True):
            try:
                take(_given(reply))
            except SharedStateUnavailableError as error:
                if error.one_object:
                    self._found.damaged.append(call.key)
                else:
                    self._found.away[self._domain_of(call.key)] = error.kind


Question: TypeAlias = tuple[Call, Callable[[Reply], object]]


def _given(reply: Reply | SharedStateUnavailableError) -> Reply:
    if isinstance(reply, SharedStateUnavailableError):
        raise reply
    return reply


def _limiter(name: str, tenant: str, listed: Listed, seen: Sequence[int]) -> LimiterView:
    first, second = listed.numbers
    algorithm = listed.step.removeprefix("rate_limiter_")
    waiting = None
    if listed.step == rate_rules.BUCKET.name:  # nanoseconds per unit, and units at once
        algorithm, rate = "bucket", 1e9 / first
        waiting = max(0.0, (seen[2] - (second - 1) * first / 1000) / 1e6)
    else:  # units per window, and its microseconds
        rate = first / second * 1e6
    return LimiterView(name, tenant, algorithm, rate, waiting, seen[1] / 1e6, seen[0])


def _leader(role: str, tenant: str, reply: Reply) -> LeaderView:
    lease_us, token, holder = _lease(reply)
    return LeaderView(role, tenant, holder, token, lease_us / 1e6)


def _listed(text: str) -> Listed | None:
    used, _, rest = text.partition("|")
    step, _, numbers = rest.partition("|")
    try:
        return Listed(step, tuple(map(int, numbers.split(","))) if numbers else (), int(used))
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _whole(item: object) -> int:
    if not isinstance(item, int) or item < 0:
        raise _crooked()
    return item


def _wholes(reply: Reply, length: int) -> tuple[int, ...]:
    if len(reply) != length:
        raise _crooked()
    return tuple(map(_whole, reply))


def _lease(reply: Reply) -> tuple[int, int, str]:
    if len(reply) != 3 or not isinstance(reply[2], bytes):
        raise _crooked()
    return _whole(reply[0]), _whole(reply[1]), reply[2].decode(errors="replace")


def _divided(reply: Reply) -> tuple[tuple[str, ...], dict[str, str]]:
    alive = _whole(reply[0] if reply else None)
    names: Sequence[str] = [item.decode(errors="replace") for item in reply[1:] if isinstance(item, bytes)]
    if len(names) != len(reply) - 1 or alive > len(names) or (len(names) - alive) % 2:
        raise _crooked()
    return tuple(names[:alive]), dict(zip(names[alive::2], names[alive + 1 :: 2], strict=True))


def _crooked() -> SharedStateUnavailableError:
    return SharedStateUnavailableError("an object of shared state is damaged", kind="nonsense", one_object=True)


def service_counts(found: Overview) -> dict[str, dict[str, int]]:
    """Return, for each service, its calls by result and what became of repetitions, since counting began.

    Examples
    --------
    >>> counted = Overview(sums=Counter({Series("circuit_breaker_calls_total", ("mlflow", "failure")): 2}))
    >>> service_counts(counted)
    {'mlflow': {'failure': 2}}
    """
    counts: dict[str, dict[str, int]] = {}
    for series, amount in sorted(found.sums.items()):
        if series.family in {"circuit_breaker_calls_total", "collectors_retry_attempts_total"}:
            counts.setdefault(series.labels[0], {})[series.labels[1]] = round(amount)
    return counts
