"""One circuit for a fleet of processes, over a real Redis."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import CircuitOpenError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns.breaker_policy import BreakerPolicy, Phase
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.guarded_store import GuardedStore, GuardPolicy
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step
from tests.support.breaker_caller import PATIENT, PROBED, THREADS, calls_run, circuit, probed
from tests.support.patience import patient
from tests.support.postgres import free_port
from tests.support.shared_stores import SharedPlace
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
PROCESSES = 8


def started(url: str, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.breaker_caller", url, *words]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def askers(url: str) -> Iterator[list["subprocess.Popen[str]"]]:
    with ExitStack() as stack:
        processes = [stack.enter_context(started(url, "probe")) for _ in range(PROCESSES)]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


def let_through(processes: list["subprocess.Popen[str]"], name: str) -> list[int]:
    """Let all threads of all processes ask at once; return how many of each were let through."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
    return [int(process.stdout.readline()) for process in processes if process.stdout is not None]


def break_down(url: str, name: str) -> CircuitBreaker:
    """Open a circuit whose pause ends at once."""
    breaker = circuit(url, name, probed(name))
    assert calls_run(breaker, 1) == 1
    assert breaker.phase is Phase.OPEN
    SystemClock().sleep(0.06)
    return breaker


def test_twenty_short_processes_trip_the_circuit_together_and_the_next_runs_nothing(redis_url: str) -> None:
    ran = 0
    for _ in range(5):
        batch = [started(redis_url, "fail", "doomed") for _ in range(4)]
        ran += sum(int(process.communicate()[0]) for process in batch)
    assert 10 <= ran <= 12
    assert int(started(redis_url, "fail", "doomed").communicate()[0]) == 0


def test_exactly_as_many_probes_as_allowed_run_of_all_who_ask_at_once(redis_url: str) -> None:
    assert PROCESSES * THREADS >= 32
    with askers(redis_url) as processes:
        for number in range(20):
            name = f"{PATIENT}-{number}"
            break_down(redis_url, name)
            assert sum(let_through(processes, name)) == PROBED.probes


def test_probes_of_killed_processes_are_replaced_when_their_leases_end(redis_url: str) -> None:
    breaker = break_down(redis_url, "killed")
    with askers(redis_url) as processes:
        assert sum(let_through(processes, "killed")) == PROBED.probes
        for process in processes:
            process.kill()
        began = time.monotonic()

    def replaced() -> bool:
        with suppress(CircuitOpenError):
            breaker.call(lambda: None)
        return breaker.phase is Phase.CLOSED

    wait_until(replaced, seconds=10)
    assert time.monotonic() - began <= PROBED.lease_seconds + patient(0.5)


def test_a_circuit_behaves_alike_wherever_it_lies(shared_place: SharedPlace) -> None:
    policy = BreakerPolicy(3, recovery_seconds=0.2, probes=2, successes=2, failure_ratio=0.5, window_seconds=30.0)

    def made() -> CircuitBreaker:
        clock = SystemClock()
        return CircuitBreaker(
            "alike", policy, classify=failed_if_transient, clock=clock, store=shared_place.store, tenant="acme"
        )

    one = made()
    one.call(lambda: None)
    assert calls_run(one, 5) == 3
    with pytest.raises(CircuitOpenError) as refused:
        made().begin()
    assert 0 < (refused.value.retry_after_seconds or 0) <= 0.2 + 1e-9
    shared_place.pass_time(0.25)
    SystemClock().sleep(0.25)
    probe = made()
    for _ in range(2):
        probe.call(lambda: None)
    report = made().report()
    assert (report.phase, report.alone, report.calls) == (Phase.CLOSED, False, 0)
    assert [line.reason for line in report.history] == ["failures", "recovery", "probes succeeded"]
    assert report.history[0].seconds_ago >= report.history[-1].seconds_ago >= 0


def test_successes_not_told_yet_are_told_when_the_process_ends(redis_url: str) -> None:
    program = (
        "import sys\n"
        "from tests.support.breaker_caller import DOOMED, circuit\n"
        "breaker = circuit(sys.argv[1], 'ending', DOOMED)\n"
        "for _ in range(7): breaker.call(int)\n"
    )
    subprocess.run([sys.executable, "-c", program, redis_url], cwd=ROOT, check=True)
    assert circuit(redis_url, "ending", PROBED).report().calls == 7


def test_while_redis_is_closed_the_process_decides_alone_and_fast_and_shares_again_when_it_is_back(
    redis_url: str,
) -> None:
    clock, port = SystemClock(), free_port()
    pauses = GuardPolicy(first_pause_seconds=0.1, longest_pause_seconds=0.2)
    away = RedisStore(parse_address(f"redis://127.0.0.1:{port}/0"))
    store = Switched(GuardedStore(away, clock=clock, random=lambda: 0.0, policy=pauses))
    breaker = CircuitBreaker("away", PROBED, classify=failed_if_transient, clock=clock, store=store)
    began = time.monotonic()
    assert calls_run(breaker, 5) == 1
    assert time.monotonic() - began < patient(0.1)
    alone = [breaker.alone]
    store.store = RedisStore(parse_address(redis_url))
    clock.sleep(0.1)
    assert breaker.call(lambda: "back") == "back"
    alone.append(breaker.alone)
    assert alone == [True, False]
    assert breaker.report().history == ()


@dataclass
class Switched:
    """A store that becomes another one."""

    store: SharedStore

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return await self.store.arun(step, key, arguments)
