"""A circuit's rule, in Python and in Lua on a real Redis, against a simple model: told the same times, all agree."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from collectors_dagster.integrations.redis.script import SCRIPTS
from collectors_dagster.patterns.breaker_policy import BreakerPolicy
from collectors_dagster.patterns.breaker_rule import (
    CLOSED,
    DISABLED,
    FORCED_OPEN,
    HALF_OPEN,
    METRICS_ONLY,
    OPEN,
    circuit_breaker,
)
from collectors_dagster.patterns.shared_state import Argument, Record, Reply
from tests.support.effort import times

SCRIPT = (SCRIPTS / "circuit_breaker.lua").read_text()
TOLD_TIME = SCRIPT.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
assert TOLD_TIME != SCRIPT
START = 1_700_000_000_000_000


class Model:
    """A circuit as one would explain it: every call of the window with its time, every probe with its end."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.phase, self.generation, self.until, self.succeeded = CLOSED, 0, 0, 0
        self.calls: list[tuple[int, bool, bool]] = []
        self.probes: dict[str, int] = {}

    def enter(self, phase: int) -> None:
        self.phase, self.generation, self.succeeded = phase, self.generation + 1, 0
        self.calls, self.probes = [], {}

    def open(self, now: int) -> None:
        self.enter(OPEN)
        self.until = now + self.policy.terms.recovery_us

    def acquire(self, name: str, now: int) -> int:
        if self.phase == OPEN and now >= self.until:
            self.enter(HALF_OPEN)
        if self.phase == HALF_OPEN:
            under_way = [end for end in self.probes.values() if end > now]
            if len(under_way) + self.succeeded >= self.policy.probes:
                return 0
            self.probes[name] = now + self.policy.terms.lease_us
            return 2
        return 0 if self.phase in (OPEN, FORCED_OPEN) else 1

    def probed(self, name: str, generation: int, verdict: int, now: int) -> None:
        end = self.probes.pop(name, 0) if generation == self.generation else 0
        if end <= now:
            return
        if verdict == 0:
            self.open(now)
        self.succeeded += verdict > 0
        if verdict > 0 and self.succeeded >= self.policy.terms.successes:
            self.enter(CLOSED)

    def record(self, generation: int, calls: Sequence[tuple[bool, bool]], now: int) -> None:
        if generation != self.generation or self.phase not in (CLOSED, METRICS_ONLY):
            return
        self.calls += [(now, failed, slow) for failed, slow in calls]
        if self.phase == CLOSED and self.must_open(now):
            self.open(now)

    def window(self, now: int) -> list[tuple[int, bool, bool]]:
        if self.policy.window_seconds is None:
            return self.calls[-self.policy.window :]
        step = self.policy.terms.window_us // 10
        return [call for call in self.calls if now // step - call[0] // step < 10]

    def totals(self, now: int) -> list[int]:
        window = self.window(now)
        return [len(window), sum(failed for _, failed, _ in window), sum(slow for *_, slow in window)]

    def must_open(self, now: int) -> bool:
        calls, failures, slow = self.totals(now)
        policy = self.policy
        if policy.failure_threshold and failures >= policy.failure_threshold:
            return True
        return calls >= policy.minimum_calls and any(
            ratio is not None and round(ratio * 1000) * calls <= 1000 * found
            for ratio, found in ((policy.failure_ratio, failures), (policy.slow_ratio, slow))
        )


POLICIES = st.builds(
    BreakerPolicy,
    failure_threshold=st.sampled_from([1, 3, 6]),
    recovery_seconds=st.sampled_from([0.5, 10.0]),
    window_calls=st.sampled_from([8, 20]),
    probes=st.integers(2, 4),
    lease_seconds=st.sampled_from([1.0, 30.0]),
    window_seconds=st.none() | st.sampled_from([1.0, 30.0]),
    failure_ratio=st.none() | st.sampled_from([0.5, 0.9]),
    slow_ratio=st.none() | st.sampled_from([0.5, 1.0]),
    minimum_calls=st.integers(1, 8),
    slow_seconds=st.just(1.0),
    successes=st.none() | st.integers(1, 2),
)
CALLS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6).map(sorted)


class BreakerMachine(RuleBasedStateMachine):
    """Many callers at once, late ones and lost ones among them."""

    client: redis.Redis

    @initialize(policy=POLICIES)
    def begin(self, policy: BreakerPolicy) -> None:
        self.client.flushall()
        self.policy, self.model, self.record = policy, Model(policy), Record()
        self.now = START
        self.known: list[tuple[str, int]] = [("nobody", 0)]

    def both(self, operation: str, *arguments: Argument) -> Reply:
        words = (operation, *self.policy.terms, *arguments)
        reply, keep_ms = circuit_breaker(self.record, self.now, words)
        time = divmod(self.now, 1_000_000)
        answer: Any = self.client.eval(TOLD_TIME, 1, "circuit", *words, *time)
        assert answer == reply
        if self.client.exists("circuit"):
            assert keep_ms > 4e3 * self.policy.recovery_seconds
            assert int(self.client.pttl("circuit")) > 0
        return reply

    @rule()
    def ask(self) -> None:
        name = f"caller{len(self.known)}"
        admitted, phase, generation, wait = self.both("acquire", name)
        assert admitted == self.model.acquire(name, self.now)
        assert isinstance(generation, int)
        self.known.append((name, generation))
        if phase == OPEN:
            assert wait == -((self.now - self.model.until) // 1000)

    @rule(data=st.data(), verdict=st.sampled_from([-1, 0, 1, 1]))
    def report_probe(self, data: st.DataObject, verdict: int) -> None:
        name, generation = self.known[-data.draw(st.integers(1, min(6, len(self.known))))]
        self.both("probed", name, generation, verdict)
        self.model.probed(name, generation, verdict, self.now)

    @rule(calls=CALLS, late=st.sampled_from([0, 0, 0, 1]))
    def report_calls(self, calls: list[tuple[bool, bool]], late: int) -> None:
        """Good calls come first in a report, then slow ones, then failures."""
        generation = self.model.generation - late
        kinds = [(False, False), (False, True), (True, False), (True, True)]
        self.both("record", generation, *(calls.count(kind) for kind in kinds))
        self.model.record(generation, calls, self.now)

    @precondition(lambda self: self.model.phase in (CLOSED, METRICS_ONLY))
    @rule()
    def break_down(self) -> None:
        self.report_calls([(True, True)] * 8, 0)

    @precondition(lambda self: self.model.phase == OPEN)
    @rule(early=st.sampled_from([0, 0, 1]))
    def end_of_the_pause(self, early: int) -> None:
        """Half open at once, unless asked a microsecond too early."""
        self.now = max(self.now, self.model.until - early)
        for _ in range(5):
            self.ask()

    @precondition(lambda self: self.model.probes)
    @rule(data=st.data(), verdict=st.sampled_from([-1, 0, 1, 1, 1]), late=st.sampled_from([0, 0, 0, 1]))
    def report_one_under_way(self, data: st.DataObject, verdict: int, late: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.probes)))
        generation = self.model.generation - late
        self.both("probed", name, generation, verdict)
        self.model.probed(name, generation, verdict, self.now)

    @precondition(lambda self: self.model.probes)
    @rule()
    def end_of_a_lease(self) -> None:
        self.now = max(self.now, min(self.model.probes.values()))
        self.ask()

    @precondition(lambda self: self.model.phase >= FORCED_OPEN or self.model.generation % 7 == 3)
    @rule(phase=st.sampled_from([CLOSED, FORCED_OPEN, DISABLED, METRICS_ONLY, CLOSED]))
    def order(self, phase: int) -> None:
        self.both("force", phase, "by hand")
        self.model.enter(phase)

    @rule(seconds=st.sampled_from([0.000001, 0.05, 0.5, 1.0, 10.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1e6)

    @invariant()
    def all_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        reply = self.both("inspect")
        model = self.model
        assert reply[1:3] == [model.phase, model.generation]
        assert reply[4:7] == model.totals(self.now)
        assert reply[7:10] == [sum(end > self.now for end in model.probes.values()), model.succeeded, self.now]
        assert isinstance(reply[10], bytes)
        assert len(reply[10].splitlines()) == min(model.generation, 20)
        assert sum(end > self.now for end in model.probes.values()) + model.succeeded <= self.policy.probes


def test_the_rule_in_python_the_script_in_redis_and_the_model_agree(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        machine = type("Machine", (BreakerMachine,), {"client": client})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=times(20), stateful_step_count=40, deadline=None)
        )


STEP_US = 100_000
WINDOWED = BreakerPolicy(1000, 30.0, window_calls=8, window_seconds=10 * STEP_US / 1e6)
AROUND_STEPS = [0, 1, STEP_US - 1, STEP_US, 4 * STEP_US, 9 * STEP_US - 1, 9 * STEP_US, 10 * STEP_US - 1, 10 * STEP_US]
COUNTS = st.tuples(*[st.integers(0, 2)] * 4)


class BothHalves:
    """One circuit in memory and one in Redis, told the same at the same instants of our choice."""

    def __init__(self, client: redis.Redis, policy: BreakerPolicy, now: int = START) -> None:
        client.flushall()
        self.client, self.policy, self.now, self.record = client, policy, now, Record()

    def run(self, operation: str, *arguments: Argument) -> Reply:
        words = (operation, *self.policy.terms, *arguments)
        reply, _ = circuit_breaker(self.record, self.now, words)
        assert self.client.eval(TOLD_TIME, 1, "circuit", *words, *divmod(self.now, 1_000_000)) == reply
        return reply


@given(start=st.sampled_from([0, 1, STEP_US - 1]), told=st.lists(st.tuples(st.sampled_from(AROUND_STEPS), COUNTS)))
@settings(max_examples=times(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_window_of_time_holds_its_ten_newest_steps_and_nothing_older(
    start: int, told: list[tuple[int, tuple[int, int, int, int]]], redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        both = BothHalves(client, WINDOWED, START + start)
        all_told: list[tuple[int, tuple[int, int, int, int]]] = []
        for elapsed, (good, slow, failed, failed_and_slow) in told:
            both.now += elapsed
            both.run("record", 0, good, slow, failed, failed_and_slow)
            all_told.append((both.now // STEP_US, (good, slow, failed, failed_and_slow)))
            counted = [counts for step, counts in all_told if step > both.now // STEP_US - 10]
            calls, failures, slow_calls = both.run("inspect")[4:7]
            assert calls == sum(sum(counts) for counts in counted)
            assert failures == sum(counts[2] + counts[3] for counts in counted)
            assert slow_calls == sum(counts[1] + counts[3] for counts in counted)


@pytest.mark.parametrize(
    ("later_us", "phase"), [(9 * STEP_US, OPEN), (10 * STEP_US - 1, OPEN), (10 * STEP_US, CLOSED)], ids=str
)
def test_a_failure_counts_to_the_end_of_the_tenth_step_and_no_longer(redis_url: str, later_us: int, phase: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        both = BothHalves(client, BreakerPolicy(2, 30.0, window_seconds=10 * STEP_US / 1e6))
        both.run("record", 0, 0, 0, 1, 0)
        both.now += later_us
        assert both.run("record", 0, 0, 0, 1, 0)[1] == phase


@pytest.mark.parametrize("damage", ["text", "list"])
def test_damaged_state_is_an_error_or_healed_but_never_a_hang(redis_url: str, damage: str) -> None:
    terms = BreakerPolicy(3, 30.0).terms
    with redis.Redis.from_url(redis_url) as client:
        if damage == "list":
            client.lpush("circuit", "x")
            with pytest.raises(redis.ResponseError):
                client.eval(SCRIPT, 1, "circuit", "acquire", *terms, "me")
        else:
            client.hset("circuit", mapping={"phase": "?", "generation": "x", "probes": "\x00", "history": "a b"})
            assert client.eval(SCRIPT, 1, "circuit", "acquire", *terms, "me") == [1, 0, 0, 0]
