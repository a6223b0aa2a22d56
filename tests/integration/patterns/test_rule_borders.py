"""The exact borders of rules, in both halves: at which microsecond before becomes after, and what is kept how long.

Generated examples rarely hit an instant exactly; each of these was wrong in a mutant that they let live.
"""

from collections.abc import Sequence
from itertools import count

import pytest
import redis

from collectors_dagster.patterns.breaker_policy import BreakerPolicy
from collectors_dagster.patterns.breaker_rule import (
    CLOSED,
    FORCED_OPEN,
    HALF_OPEN,
    KEEP_FORCED_MS,
    KEEP_MS,
    METRICS_ONLY,
    OPEN,
)
from collectors_dagster.patterns.breaker_rule import STEP as CIRCUIT
from collectors_dagster.patterns.bulkhead_rules import ENTER, LEAVE
from collectors_dagster.patterns.bulkhead_rules import RENEW as RENEW_PERMIT
from collectors_dagster.patterns.leadership_rules import ACQUIRE, RENEW, RESIGN, TURN
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.rate_rules import BUCKET, COUNTERS, FIXED, LOG, PAUSE
from collectors_dagster.patterns.shared_state import Argument, Step
from tests.support.timed_redis import TimedRedis, Wall

names = count()
SECOND = 1_000_000
RATES: list[tuple[Step, tuple[int, int]]] = [
    (BUCKET, (10_000_000, 10)),
    (FIXED, (10, SECOND)),
    (LOG, (10, SECOND)),
    (COUNTERS, (10, SECOND)),
]


class Halves:
    """Runs each step in memory and in Redis at the same instant, and compares.

    Memory forgets when its rule says so; in Redis nothing ends here. So what is forgotten too soon makes a difference.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.clock = Wall()
        self._memory = MemoryStore(self.clock)
        self._timed = TimedRedis(client, f"borders:{next(names)}")

    def run(self, step: Step, *arguments: Argument, after: int = 0) -> list[int]:
        """Run a step so many microseconds after the last one."""
        self.clock.micros += after
        self.reply = self._memory.run(step, "k", arguments)
        assert self.reply == self._timed.run(step, self.clock.micros, arguments)
        return [item for item in self.reply if isinstance(item, int)]

    def kept_ms(self, part: str = "") -> int:
        return self._timed.kept_ms(part)


@pytest.fixture
def halves(redis_server: str) -> Halves:
    return Halves(redis.Redis.from_url(redis_server))


# --- rate limits -----------------------------------------------------------------------------------------------------


def _asked(halves: Halves, step: Step, numbers: Sequence[int], process: str = "a", *, after: int = 0) -> list[int]:
    return halves.run(step, process, 1, 1, 0, 0, *numbers, after=after)


@pytest.mark.parametrize(("step", "numbers"), RATES, ids=lambda each: getattr(each, "name", None))
def test_a_process_takes_part_for_ten_seconds_and_no_longer(
    halves: Halves, step: Step, numbers: tuple[int, int]
) -> None:
    _asked(halves, step, numbers)
    assert _asked(halves, step, numbers, "b", after=10 * SECOND - 1)[0] == 2
    assert _asked(halves, step, numbers, "b", after=1)[0] == 1
    assert halves.kept_ms(":present") == 10_001


@pytest.mark.parametrize(("step", "numbers"), RATES, ids=lambda each: getattr(each, "name", None))
def test_a_ban_ends_at_its_end(halves: Halves, step: Step, numbers: tuple[int, int]) -> None:
    assert halves.run(PAUSE, 2 * SECOND) == [2 * SECOND]
    assert halves.kept_ms(":ban") == 2001
    assert halves.run(PAUSE, SECOND, after=100) == [2 * SECOND - 100]  # a shorter one shortens nothing
    assert _asked(halves, step, numbers, after=2 * SECOND - 101) == [1, 1]
    assert _asked(halves, step, numbers, after=1) == [1, 0, 0]


@pytest.mark.parametrize(("step", "numbers"), RATES, ids=lambda each: getattr(each, "name", None))
def test_what_was_booked_is_known_as_long_as_it_matters(halves: Halves, step: Step, numbers: tuple[int, int]) -> None:
    """A key that ended earlier would grant the same places twice."""
    halves.run(step, "a", 5, 1, 0, 0, *numbers)
    now = halves.clock.micros
    matters_until = {
        "rate_limiter_bucket": now + 50_000,
        "rate_limiter_fixed": (now // SECOND + 1) * SECOND,
        "rate_limiter_log": now + SECOND,
        "rate_limiter_counters": (now // SECOND + 2) * SECOND,
    }[step.name]
    assert halves.kept_ms(step.parts[0]) == -(-(matters_until - now) // 1000) + 1


@pytest.mark.parametrize(("step", "numbers"), RATES, ids=lambda each: getattr(each, "name", None))
def test_a_long_ban_is_known_to_its_end(halves: Halves, step: Step, numbers: tuple[int, int]) -> None:
    halves.run(PAUSE, 40 * SECOND)
    assert _asked(halves, step, numbers, after=15 * SECOND) == [1, 25 * SECOND]
    assert _asked(halves, step, numbers, after=15 * SECOND) == [1, 10 * SECOND]


@pytest.mark.parametrize("step", [FIXED, LOG, COUNTERS], ids=lambda step: step.name)
def test_a_long_window_is_known_to_its_end_also_when_somebody_looks_for_a_ban(halves: Halves, step: Step) -> None:
    minute = 60 * SECOND
    halves.clock.micros += minute - halves.clock.micros % minute
    halves.run(step, "a", 10, 1, 0, 0, 10, minute)
    halves.run(PAUSE, 0, after=SECOND)
    assert len(_asked(halves, step, (10, minute), after=30 * SECOND)) == 2


def test_the_window_before_counts_while_it_overlaps(halves: Halves) -> None:
    minute = 60 * SECOND
    halves.clock.micros += minute - halves.clock.micros % minute
    halves.run(COUNTERS, "a", 10, 1, 0, 0, 10, minute)
    assert _asked(halves, COUNTERS, (10, minute), after=minute + SECOND) == [1, 5 * SECOND]
    assert _asked(halves, COUNTERS, (10, minute), after=5 * SECOND) == [1, 0, 0]


def test_a_window_grants_its_limit_and_not_one_more(halves: Halves) -> None:
    halves.run(FIXED, "a", 9, 1, 0, 0, 10, SECOND)
    assert _asked(halves, FIXED, (10, SECOND)) == [1, 0, 0]
    left = SECOND - halves.clock.micros % SECOND
    assert _asked(halves, FIXED, (10, SECOND)) == [1, left]
    assert _asked(halves, FIXED, (10, SECOND), after=left - 1) == [1, 1]
    assert _asked(halves, FIXED, (10, SECOND), after=1) == [1, 0, 0]


def test_a_caller_who_may_wait_just_so_long_gets_the_place(halves: Halves) -> None:
    halves.run(BUCKET, "a", 10, 1, 0, 0, 10_000_000, 10)
    assert halves.run(BUCKET, "a", 1, 1, 9_999, 0, 10_000_000, 10) == [1, 10_000]
    assert halves.run(BUCKET, "a", 3, 1, 10_000, 10_000, 10_000_000, 10) == [1, 0, 10_000, 20_000]


# --- bulkheads -------------------------------------------------------------------------------------------------------


def test_a_permit_ends_with_its_lease_and_not_before(halves: Halves) -> None:
    assert halves.run(ENTER, "|p|1", SECOND, 1) == [1, 1, 1]
    assert halves.run(ENTER, "|q|2", SECOND, 1, after=SECOND - 1) == [0, 1, 1]
    assert halves.run(RENEW_PERMIT, SECOND, "|p|1") == [1]
    assert halves.run(ENTER, "|q|2", SECOND, 1, after=SECOND) == [1, 1, 1]
    assert halves.run(RENEW_PERMIT, SECOND, "|p|1") == [0]


def test_permits_are_known_until_the_last_lease_ends(halves: Halves) -> None:
    halves.run(ENTER, "|p|1", 3 * SECOND, 5)
    assert halves.kept_ms() == 3001
    halves.run(ENTER, "|p|2", SECOND, 5, after=SECOND)
    assert halves.kept_ms() == 2001
    halves.run(RENEW_PERMIT, 4 * SECOND, "|p|2")
    assert halves.kept_ms() == 4001
    halves.run(LEAVE, "|p|2", after=SECOND)
    assert halves.kept_ms() == 1001


def test_who_has_a_permit_keeps_it_where_there_is_no_other(halves: Halves) -> None:
    halves.run(ENTER, "|p|1", SECOND, 1)
    assert halves.run(ENTER, "|p|1", SECOND, 1, after=SECOND // 2) == [1, 1, 1]
    assert halves.run(ENTER, "|q|1", SECOND, 1, after=SECOND - 1) == [0, 1, 1]


# --- leaders and shares ----------------------------------------------------------------------------------------------


def test_a_lead_ends_with_its_lease_and_not_before(halves: Halves) -> None:
    token, _ = halves.run(ACQUIRE, "a", SECOND)
    assert halves.kept_ms() == 1001
    assert halves.run(ACQUIRE, "b", SECOND, after=SECOND - 1) == [0, 1]
    assert halves.run(RENEW, "a", token, 2 * SECOND) == [1]
    assert halves.kept_ms() == 2001
    assert halves.run(RENEW, "a", token, SECOND, after=2 * SECOND) == [0]
    assert halves.run(RESIGN, "a", token) == [0]
    assert halves.run(ACQUIRE, "b", SECOND)[0] > token


def test_an_old_token_of_the_same_holder_counts_no_more(halves: Halves) -> None:
    old, _ = halves.run(ACQUIRE, "a", SECOND)
    new, _ = halves.run(ACQUIRE, "a", SECOND, after=SECOND)
    assert new > old
    assert halves.run(RENEW, "a", old, SECOND) == [0]
    assert halves.run(RESIGN, "a", old) == [0]
    assert halves.run(RESIGN, "a", new) == [1]


def test_tokens_grow_within_a_millisecond_and_are_no_less_than_the_time(halves: Halves) -> None:
    tokens = []
    for _ in range(3):
        token, _ = halves.run(ACQUIRE, "a", SECOND)
        halves.run(RESIGN, "a", token)
        tokens.append(token)
    assert tokens == [halves.clock.micros // 1000 + number for number in range(3)]


def test_an_instance_lives_and_has_its_shares_to_the_end_of_its_lease_and_no_longer(halves: Halves) -> None:
    claims = (6 * SECOND, 6 * SECOND, 0, "t1")
    alive, token = halves.run(TURN, "a", *claims)
    assert (alive, halves.kept_ms(":instances"), halves.kept_ms(":shares")) == (1, 6001, 6001)
    assert halves.run(TURN, "b", *claims, after=6 * SECOND - 1) == [2, 0]
    alive, later = halves.run(TURN, "b", *claims, after=1)
    assert alive == 1
    assert later > token


# --- circuits --------------------------------------------------------------------------------------------------------


class Circuit:
    """One circuit under one policy, in both halves."""

    def __init__(self, halves: Halves, policy: BreakerPolicy) -> None:
        self.halves, self.policy = halves, policy

    def run(self, operation: str, *arguments: Argument, after: int = 0) -> list[int]:
        return self.halves.run(CIRCUIT, operation, *self.policy.terms, *arguments, after=after)


@pytest.mark.parametrize(
    ("bad", "phase"), [((0, 0, 4, 0), CLOSED), ((0, 0, 5, 0), OPEN), ((0, 4, 0, 0), CLOSED), ((0, 5, 0, 0), OPEN)]
)
def test_a_circuit_opens_from_its_ratio_on(halves: Halves, bad: tuple[int, int, int, int], phase: int) -> None:
    policy = BreakerPolicy(0, 30.0, failure_ratio=0.5, slow_ratio=0.5, slow_seconds=1.0, minimum_calls=10)
    circuit = Circuit(halves, policy)
    good = 10 - sum(bad)
    assert circuit.run("record", 0, good, *bad[1:])[1] == phase


def test_a_window_of_calls_holds_the_last_ones_and_not_one_more(halves: Halves) -> None:
    circuit = Circuit(halves, BreakerPolicy(5, 30.0, window_calls=5))
    circuit.run("record", 0, 0, 0, 1, 0)
    circuit.run("record", 0, 4, 0, 0, 0)
    assert circuit.run("inspect")[4:6] == [5, 1]
    circuit.run("record", 0, 1, 0, 0, 0)
    assert circuit.run("inspect")[4:6] == [5, 0]


def test_a_circuit_for_metrics_only_counts_and_does_not_open(halves: Halves) -> None:
    circuit = Circuit(halves, BreakerPolicy(1, 30.0, window_calls=5))
    circuit.run("force", METRICS_ONLY)
    assert circuit.run("record", 1, 0, 0, 3, 0)[:2] == [1, METRICS_ONLY]
    assert circuit.run("inspect")[4:6] == [3, 3]


def test_a_probe_counts_to_the_end_of_its_lease_and_not_at_it(halves: Halves) -> None:
    circuit = Circuit(halves, BreakerPolicy(1, 1.0, lease_seconds=2.0, probes=2, successes=1))
    circuit.run("record", 0, 0, 0, 1, 0)
    assert circuit.run("acquire", "p", after=SECOND)[:2] == [2, HALF_OPEN]
    assert circuit.run("probed", "p", 2, 1, after=2 * SECOND)[:2] == [0, HALF_OPEN]
    assert circuit.run("acquire", "q")[0] == 2
    assert circuit.run("probed", "q", 2, 1, after=2 * SECOND - 1)[:2] == [1, CLOSED]


def test_a_circuit_remembers_its_last_twenty_changes(halves: Halves) -> None:
    circuit = Circuit(halves, BreakerPolicy(1, 1.0))
    for _ in range(25):
        circuit.run("force", CLOSED, after=SECOND)
    circuit.run("inspect")
    history = halves.reply[10]
    assert isinstance(history, bytes)
    moments = [int(line.split()[0]) for line in history.splitlines()]
    assert moments == [halves.clock.micros - SECOND * number for number in range(19, -1, -1)]


@pytest.mark.parametrize(
    ("policy", "order", "kept_ms"),
    [
        (BreakerPolicy(1, 1.0), CLOSED, KEEP_MS),
        (BreakerPolicy(1, 100_000.0), CLOSED, 400_000_000),
        (BreakerPolicy(1, 1.0, window_seconds=100_000.0), CLOSED, 400_000_000),
        (BreakerPolicy(1, 1.0), FORCED_OPEN, KEEP_FORCED_MS),
    ],
    ids=["a day", "four pauses", "four windows", "by hand"],
)
def test_a_circuit_is_kept_as_long_as_it_may_matter(
    halves: Halves, policy: BreakerPolicy, order: int, kept_ms: int
) -> None:
    Circuit(halves, policy).run("force", order)
    assert halves.kept_ms() == kept_ms
    _, kept = CIRCUIT.rule({}, halves.clock.micros, ("force", *policy.terms, order))
    assert kept == kept_ms
