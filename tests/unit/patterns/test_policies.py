"""Policies of a service: what settings ask for, in the documented order, and when state begins to be shared."""

import asyncio
from collections.abc import Sequence

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.policy_sections import (
    BUILT_IN,
    BulkheadKeys,
    CircuitBreaker,
    CircuitBreakerKeys,
    RateLimiterKeys,
    Retry,
    RetryKeys,
    ServiceName,
    ServiceOverrides,
)
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import (
    BulkheadFullError,
    CircuitOpenError,
    ConfigurationError,
    RequestRejectedError,
    ServiceTimeoutError,
    SharedStateUnavailableError,
)
from collectors_dagster.patterns.breaker_rule import LOOK
from collectors_dagster.patterns.bulkhead import Bulkhead, SharedBulkhead
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker as Breaker
from collectors_dagster.patterns.lazy_store import LazyStore
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.metrics import Metrics, Series
from collectors_dagster.patterns.policies import Guards, Policies, worth_repeating
from collectors_dagster.patterns.policy import Timeout
from collectors_dagster.patterns.rate_limiter import RateLimiter
from collectors_dagster.patterns.retry import Retry as Repeating
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step


def guards(
    service: ServiceName,
    own: ServiceOverrides | None = None,
    *,
    store: SharedStore | None = None,
    metrics: Metrics | None = None,
) -> Guards:
    patterns = Patterns(services={service: own} if own else {})
    policies = Policies(patterns, clock=ManualClock(), random=lambda: 0.5, store=store, metrics=metrics or Metrics())
    return policies.guards(service)


def failing() -> None:
    raise ServiceTimeoutError("no answer", service="mlflow", operation="ask")


@pytest.mark.parametrize("service", BUILT_IN)
def test_policies_stand_in_the_documented_order(service: ServiceName) -> None:
    made = guards(service)
    kinds = [type(layer) for layer in made.policy.layers]
    order: list[type] = [Timeout, Repeating, Breaker, RateLimiter, Bulkhead]
    assert kinds == [kind for kind in order if kind in kinds]
    assert [type(layer) for layer in made.once.layers] == [kind for kind in kinds if kind is not Repeating]
    assert {Repeating, Breaker, Bulkhead} <= set(kinds)


def test_a_rate_is_kept_only_where_somebody_set_one() -> None:
    assert guards("mlflow").limiter is None
    assert guards("timescaledb").limiter is None
    own = ServiceOverrides(rate_limiter=RateLimiterKeys(requests_per_second=2))
    limiter = guards("mlflow", own).limiter
    assert limiter is not None
    assert limiter.policy.requests_per_second == 2


def test_no_deadline_is_no_layer() -> None:
    assert guards("mlflow", ServiceOverrides(deadline_seconds=0)).timeout is None


def test_each_key_comes_from_the_nearest_place_that_sets_it() -> None:
    patterns = Patterns(
        circuit_breaker=CircuitBreaker(failure_threshold=9, recovery_timeout=77),
        retry=Retry(attempts=7),
        services={"timescaledb": ServiceOverrides(circuit_breaker=CircuitBreakerKeys(probes=3))},
    )
    database, registry = patterns.of("timescaledb"), patterns.of("mlflow")
    assert database.circuit_breaker.probes == 3  # set for it
    assert database.circuit_breaker.recovery_timeout == 5.0  # known of it
    assert database.circuit_breaker.failure_threshold == 9  # set for all
    assert (registry.circuit_breaker.recovery_timeout, registry.circuit_breaker.probes) == (77, 1)
    assert (registry.retry.attempts, registry.retry.cap_seconds) == (2, 8.0)
    assert patterns.of("spotify").retry.attempts == 7


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (ServiceOverrides(circuit_breaker=CircuitBreakerKeys(success_threshold=2)), r"circuit_breaker.*never close"),
        (ServiceOverrides(retry=RetryKeys(base_seconds=60)), r"retry.*base_seconds 60 is more than cap_seconds"),
        (ServiceOverrides(retry=RetryKeys(budget_share=0, budget_reserve=0)), r"retry.*would never be made"),
        (ServiceOverrides(bulkhead=BulkheadKeys(max_wait_seconds=0)), r"bulkhead.*lets none of queue_limit"),
        (
            ServiceOverrides(rate_limiter=RateLimiterKeys(algorithm="fixed_window", requests_per_second=0.1)),
            r"rate_limiter.*would grant nothing",
        ),
    ],
)
def test_what_cannot_work_for_a_service_is_refused_with_its_key(own: ServiceOverrides, said: str) -> None:
    with pytest.raises(ValueError, match=rf"services\.mlflow\.{said}"):
        Patterns(services={"mlflow": own})


def test_a_success_threshold_is_judged_with_the_probes_for_all() -> None:
    patterns = Patterns(
        circuit_breaker=CircuitBreaker(probes=5),
        services={"mlflow": ServiceOverrides(circuit_breaker=CircuitBreakerKeys(success_threshold=4))},
    )
    assert patterns.of("mlflow").circuit_breaker.success_threshold == 4


def test_what_must_not_be_repeated_is_called_once() -> None:
    metrics = Metrics()
    made = guards("mlflow", metrics=metrics)
    with pytest.raises(ServiceTimeoutError):
        made.once.call(failing)
    with pytest.raises(ServiceTimeoutError):
        made.policy.call(failing)
    counted = metrics.drain()
    assert counted[Series("circuit_breaker_calls_total", ("mlflow", "failure"))] == 3
    assert counted[Series("collectors_retry_attempts_total", ("mlflow", "repeated"))] == 1
    assert counted[Series("collectors_retry_attempts_total", ("mlflow", "gave_up"))] == 1


def test_coroutines_go_the_same_way() -> None:
    async def answer() -> int:
        return 42

    assert asyncio.run(guards("spotify").policy.acall(answer)) == 42


@pytest.mark.parametrize("error", [CircuitOpenError("open"), BulkheadFullError("full"), ValueError("ours")])
def test_a_refusal_of_our_own_is_not_repeated(error: Exception) -> None:
    assert not worth_repeating(error)


def test_a_full_bulkhead_is_no_failure_of_the_service() -> None:
    own = ServiceOverrides(
        circuit_breaker=CircuitBreakerKeys(failure_threshold=1), bulkhead=BulkheadKeys(limit=1, queue_limit=0)
    )
    made = guards("mlflow", own)
    with made.bulkhead.protect(), pytest.raises(BulkheadFullError):
        made.policy.call(int)
    assert made.policy.call(int) == 0


def test_places_of_the_fleet_need_a_store() -> None:
    own = ServiceOverrides(bulkhead=BulkheadKeys(scope="fleet"))
    assert isinstance(guards("mlflow", own).bulkhead, Bulkhead)
    assert isinstance(guards("mlflow", own, store=MemoryStore(ManualClock())).bulkhead, SharedBulkhead)


def test_leaders_are_elected_by_the_settings_and_never_alone() -> None:
    patterns, clock = Patterns(), ManualClock()
    policies = Policies(patterns, clock=clock, random=lambda: 0.5, store=MemoryStore(clock))
    assert policies.leadership("scorer", "a").turn() is not None
    assert policies.leadership("scorer", "b").turn() is None
    assert set(policies.shares("spotify", "a").turn(["acme"])) == {"acme"}
    with pytest.raises(ValueError, match="shared state"):
        Policies(patterns, clock=clock, random=lambda: 0.5).leadership("scorer", "a")


class Counted:
    """A store that counts what reaches it."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._inner = MemoryStore(ManualClock())

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.steps.append(step.name)
        return self._inner.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


def test_shared_state_is_not_asked_before_something_fails() -> None:
    inner = Counted()
    lazy = LazyStore(lambda: inner, loaded=lambda: False)
    made = guards("mlflow", store=lazy)
    for _ in range(1000):
        made.policy.call(int)
    assert inner.steps == []
    with pytest.raises(ServiceTimeoutError):
        made.once.call(failing)
    made.once.call(int)
    assert inner.steps == []  # the process believes for a quarter of a second that its circuit is closed
    made.breaker._clock.sleep(1.0)
    made.once.call(int)
    assert set(inner.steps) == {"circuit_breaker"}


def test_an_answer_that_is_a_refusal_wakes_nothing() -> None:
    lazy = LazyStore(Counted, loaded=lambda: False)

    def refused() -> None:
        raise RequestRejectedError("404", service="mlflow", operation="ask")

    with pytest.raises(RequestRejectedError):
        guards("mlflow", store=lazy).policy.call(refused)
    assert not lazy.awake


def test_shared_state_is_used_when_it_is_open_anyway() -> None:
    inner, loaded = Counted(), [False]
    made = guards("mlflow", store=LazyStore(lambda: inner, loaded=lambda: loaded[0]))
    made.policy.call(int)
    loaded[0] = True
    made.breaker._clock.sleep(1.0)
    made.policy.call(int)
    assert inner.steps


def test_shared_state_that_cannot_be_opened_is_said_once_and_does_without() -> None:
    opened: list[int] = []

    def broken() -> SharedStore:
        opened.append(1)
        raise ConfigurationError("redis.tls_ca_file: there is no such file")

    lazy = LazyStore(broken, loaded=lambda: True)
    made = guards("mlflow", store=lazy)
    for _ in range(3):
        made.breaker._clock.sleep(1.0)
        assert made.policy.call(int) == 0
    with pytest.raises(SharedStateUnavailableError):
        lazy.run(LOOK, "key")
    assert opened == [1]
