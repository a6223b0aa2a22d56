"""What processes tell and how all is looked at: the same in memory, in Redis and in a Redis Cluster."""

from collections.abc import Callable, Sequence

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import CollectorsError, ServiceUnreachableError, SharedStateUnavailableError
from collectors_dagster.patterns.bulkhead import BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, Phase, failed_if_transient
from collectors_dagster.patterns.leadership import Leadership, Shares
from collectors_dagster.patterns.metrics import Metrics, Series
from collectors_dagster.patterns.overview import Looking, Overview, service_counts
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.patterns.rate_limiter import RateLimiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy
from collectors_dagster.patterns.reporting_rules import MOST_LISTED, MOST_SUMS, READ, TELL
from collectors_dagster.patterns.reporting_store import ReportingStore
from collectors_dagster.patterns.shared_state import Argument, Call, Reply
from tests.support.shared_stores import SharedPlace

CLOCK = SystemClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def store(shared_place: SharedPlace, metrics: Metrics) -> ReportingStore:
    """Return the store of one process."""
    return ReportingStore(shared_place.store, metrics, clock=CLOCK)


def look(shared_place: SharedPlace) -> Overview:
    return Looking(shared_place.store).look()


def failing() -> None:
    raise ServiceUnreachableError("away", service="mlflow", operation="ask")


def attempted(call: Callable[[], object]) -> None:
    try:
        call()
    except CollectorsError:
        return


def test_what_processes_count_is_added_up(shared_place: SharedPlace) -> None:
    for _ in range(3):
        own = Metrics()
        store = ReportingStore(shared_place.store, own, clock=CLOCK)
        guards = Policies(Patterns(), clock=CLOCK, random=lambda: 0.5, store=store, metrics=own).guards("mlflow")
        guards.once.call(int)
        attempted(lambda guards=guards: guards.once.call(failing))  # type: ignore[misc]  # a default binds it
        guards.breaker.flush()
        store.flush()
    found = look(shared_place)
    assert service_counts(found)["mlflow"] == {"success": 3, "failure": 3}
    seconds = Series("collectors_circuit_breaker_call_seconds", ("mlflow",), "count")
    assert found.sums[seconds] == 6


def test_a_circuit_is_found_with_its_window_and_its_history(shared_place: SharedPlace, store: ReportingStore) -> None:
    breaker = CircuitBreaker(
        "mlflow",
        BreakerPolicy(2, 30.0, window_seconds=60),
        classify=failed_if_transient,
        clock=CLOCK,
        store=store,
        tenant="acme",
    )
    attempted(lambda: breaker.call(failing))
    store.flush()
    [seen] = look(shared_place).circuits
    assert (seen.name, seen.tenant, seen.report.phase) == ("mlflow", "acme", Phase.CLOSED)
    assert (seen.report.calls, seen.report.failures, seen.report.alone) == (1, 1, False)
    attempted(lambda: breaker.call(failing))
    breaker.force(Phase.DISABLED, "ann:  two\nlines ")
    [seen] = look(shared_place).circuits
    assert [(each.after, each.reason) for each in seen.report.history] == [
        (Phase.OPEN, "failures"),
        (Phase.DISABLED, "by hand: ann: two lines"),
    ]
    assert seen.report.transitions == 2


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_limit_is_found_with_its_rate_and_its_ban(
    shared_place: SharedPlace, store: ReportingStore, algorithm: Algorithm
) -> None:
    limiter = RateLimiter("hook", RatePolicy(2.0, 1, algorithm, 10.0), store=store, clock=CLOCK, tenant="acme")
    assert limiter.try_acquire() == 0.0
    store.flush()
    [seen] = look(shared_place).limiters
    assert (seen.name, seen.tenant, seen.processes, seen.banned_seconds) == ("hook", "acme", 1, 0.0)
    assert seen.requests_per_second == pytest.approx(2.0)
    if algorithm in {Algorithm.TOKEN_BUCKET, Algorithm.LEAKY_BUCKET}:
        assert seen.waiting_seconds is not None
        assert 0.0 <= seen.waiting_seconds <= 0.5
    else:
        assert seen.waiting_seconds is None
    limiter.pause(600)
    [seen] = look(shared_place).limiters
    assert 500 < seen.banned_seconds <= 600


def test_places_of_the_fleet_are_counted(shared_place: SharedPlace, store: ReportingStore) -> None:
    bulkhead = SharedBulkhead("exports", BulkheadPolicy(3), store=store, clock=CLOCK, random=lambda: 0.5)
    with bulkhead.protect(), bulkhead.protect():
        store.flush()
        [seen] = look(shared_place).bulkheads
        assert (seen.name, seen.limit, seen.in_use, seen.processes) == ("exports", 3, 2, 1)
    [seen] = look(shared_place).bulkheads
    assert (seen.in_use, seen.processes) == (0, 0)


def test_leaders_and_shares_are_told(shared_place: SharedPlace, store: ReportingStore) -> None:
    leader = Leadership("scorer", "one", store=store, clock=CLOCK)
    token = leader.turn()
    groups = [Shares("spotify", name, store=store, clock=CLOCK) for name in ("one", "two")]
    for _ in range(2):
        for each in groups:
            each.turn(["acme", "aurora", "borealis"])
    store.flush()
    found = look(shared_place)
    [role] = found.leaders
    assert (role.role, role.holder, role.token) == ("scorer", "one", token)
    assert 0 < role.lease_seconds <= 15
    [shares] = found.shares
    assert shares.instances == ("one", "two")
    assert shares.owners == {
        share: name for name, each in zip(("one", "two"), groups, strict=True) for share in each.tokens
    }
    leader.resign()
    [role] = look(shared_place).leaders
    assert (role.holder, role.token, role.lease_seconds) == ("", 0, 0.0)


def test_the_sums_have_room_for_so_many_and_the_rest_goes_where_it_said(shared_place: SharedPlace) -> None:
    told: list[Argument] = [MOST_SUMS + 50]
    for number in range(MOST_SUMS + 50):
        told += [f"series-{number}", "rest", "0.5"]
    reply = shared_place.store.run(TELL, "all:resilience:9", told)
    assert reply == [MOST_SUMS + 1, 0]
    assert shared_place.store.run(TELL, "all:resilience:9", told) == [MOST_SUMS + 1, 0]
    sums = read_sums(shared_place.store.run(READ, "all:resilience:9"))
    assert sums["series-7"] == 1.0
    assert sums["rest"] == 50.0


def test_the_directory_has_room_for_so_many(shared_place: SharedPlace) -> None:
    for first in range(0, MOST_LISTED + 100, 100):
        told: list[Argument] = [0]
        for number in range(first, first + 100):
            told += [f"key-{number}", "step|1"]
        _, listed = shared_place.store.run(TELL, "all:resilience:9", told)
        assert listed == min(first + 100, MOST_LISTED)


def read_sums(reply: Reply) -> dict[str, float]:
    count = reply[1]
    assert isinstance(count, int)
    texts = [item.decode() for item in reply[2 : 2 + 2 * count] if isinstance(item, bytes)]
    return dict(zip(texts[::2], map(float, texts[1::2]), strict=True))


def test_nonsense_that_somebody_wrote_is_left_out(shared_place: SharedPlace) -> None:
    told: list[Argument] = [2, "no|series", "no|series", "1", "rate_limit_requests_total|a|b|", "x", "2"]
    told += ["acme:cb:broken", "circuit_breaker|1,2", "nothing", "???", "acme:rate:x", "rate_limiter_bucket|0,0"]
    shared_place.store.run(TELL, "all:resilience:0", told)
    found = look(shared_place)
    assert dict(found.sums) == {Series("rate_limit_requests_total", ("a", "b")): 2}
    assert (found.circuits, found.limiters, found.away) == ([], [], {})


class Away:
    """A store that is away."""

    def run(self, *_: object) -> Reply:
        raise SharedStateUnavailableError("away", kind="timeout")

    async def arun(self, *_: object) -> Reply:
        raise SharedStateUnavailableError("away", kind="timeout")

    def run_many(self, calls: Sequence[Call]) -> list[Reply | SharedStateUnavailableError]:
        return [SharedStateUnavailableError("away", kind="timeout") for _ in calls]


def test_what_is_away_is_said_and_what_was_counted_is_kept(metrics: Metrics) -> None:
    metrics.count("rate_limit_requests_total", "a", "granted")
    store = ReportingStore(Away(), metrics, clock=ManualClock())
    store.flush()
    assert metrics.drain() == {Series("rate_limit_requests_total", ("a", "granted")): 1}
    assert Looking(Away()).look().away == {"": "timeout"}
