import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.guarded_store import GuardedStore, GuardPolicy, SilentObserver
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step
from tests.support.effort import times


def _hello(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    return [1], 0


STEP = Step("hello", _hello)
AWAY = SharedStateUnavailableError("closed", kind="unreachable")
WRONG = SharedStateUnavailableError("a list", kind="wrong data", one_object=True)
POLICY = GuardPolicy(first_pause_seconds=1.0, longest_pause_seconds=2.5, probe_seconds=2.0)


class Far:
    """A store that another machine would hold: answers, or fails, as it is told; counts who reached for it."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.reached = 0
        self.inside: Callable[[], object] = lambda: None

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.reached += 1
        self.inside()
        error = self.errors.get(key) or self.errors.get("*")
        if error is not None:
            raise error
        return [1]

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


class Notes(SilentObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def fault(self, kind: str) -> None:
        self.told.append(f"fault {kind}")

    def degraded(self, domain: str, kind: str, pause_seconds: float) -> None:
        self.told.append(f"degraded {kind} {pause_seconds:g}")

    def restored(self, domain: str) -> None:
        self.told.append("restored")


def guarded(far: Far, clock: ManualClock, notes: Notes | None = None) -> GuardedStore:
    observer = notes or SilentObserver()
    return GuardedStore(far, clock=clock, random=lambda: 0.0, policy=POLICY, observer=observer)


def refusals(store: GuardedStore, times: int, key: str = "k") -> list[str]:
    kinds = []
    for _ in range(times):
        with pytest.raises(SharedStateUnavailableError) as refused:
            store.run(STEP, key)
        kinds.append(refused.value.kind)
    return kinds


def test_after_one_failure_nobody_reaches_for_the_store_until_the_pause_is_over() -> None:
    far, clock = Far(), ManualClock()
    store = guarded(far, clock)
    far.errors["*"] = AWAY
    assert refusals(store, 1000) == ["unreachable"] + ["paused"] * 999
    assert far.reached == 1


def test_pauses_double_up_to_the_longest_and_the_return_is_noticed_within_it() -> None:
    far, clock, notes = Far(), ManualClock(), Notes()
    store = guarded(far, clock, notes)
    far.errors["*"] = AWAY
    for _ in range(40):
        refusals(store, 1)
        clock.sleep(0.5)
    far.errors.clear()
    clock.sleep(POLICY.longest_pause_seconds)
    assert store.run(STEP, "k") == [1]
    pauses = [line for line in notes.told if line.startswith("degraded")]
    assert pauses[:4] == [f"degraded unreachable {seconds:g}" for seconds in (1, 2, 2.5, 2.5)]
    assert notes.told[-1] == "restored"
    assert store.degraded() == ()


def test_refusal_says_when_to_come_again() -> None:
    far, clock = Far(), ManualClock()
    store = guarded(far, clock)
    far.errors["*"] = AWAY
    refusals(store, 1)
    clock.sleep(0.25)
    with pytest.raises(SharedStateUnavailableError, match=r"0\.8 s more") as refused:
        store.run(STEP, "k")
    assert refused.value.retry_after_seconds == 0.75


def test_one_of_many_threads_looks_again_while_the_others_decide_alone() -> None:
    far, clock = Far(), ManualClock()
    store = guarded(far, clock)
    far.errors["*"] = AWAY
    refusals(store, 1)
    clock.sleep(POLICY.first_pause_seconds)
    far.errors.clear()
    entered, go_on = threading.Event(), threading.Event()

    def inside() -> None:
        entered.set()
        assert go_on.wait(20)

    far.inside = inside
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(store.run, STEP, "k")
        assert entered.wait(20)
        assert refusals(store, 31) == ["paused"] * 31
        go_on.set()
        assert probe.result() == [1]
    assert store.run(STEP, "k") == [1]
    assert far.reached == 3


def test_wrong_data_at_one_key_leaves_the_others_shared() -> None:
    far, clock, notes = Far(), ManualClock(), Notes()
    store = guarded(far, clock, notes)
    far.errors["bad"] = WRONG
    assert refusals(store, 3, "bad") == ["wrong data"] * 3
    assert store.run(STEP, "good") == [1]
    assert notes.told == ["fault wrong data"] * 3


def test_wrong_data_at_a_key_is_an_answer_to_a_probe() -> None:
    far, clock = Far(), ManualClock()
    store = guarded(far, clock)
    far.errors = {"*": AWAY}
    refusals(store, 1)
    clock.sleep(1.0)
    far.errors = {"bad": WRONG}
    refusals(store, 1, "bad")
    assert store.run(STEP, "good") == [1]


def test_what_fails_together_is_paused_together_and_nothing_else() -> None:
    far, clock = Far(), ManualClock()
    store = GuardedStore(far, clock=clock, random=lambda: 0.0, domain_of=lambda key: key[0])
    far.errors = {"a1": AWAY}
    assert refusals(store, 1, "a1") + refusals(store, 1, "a2") == ["unreachable", "paused"]
    assert store.degraded() == ("a",)
    assert store.run(STEP, "b1") == [1]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_stopped_probe_is_neither_a_failure_nor_lost(stop: BaseException) -> None:
    far, clock, notes = Far(), ManualClock(), Notes()
    store = guarded(far, clock, notes)
    far.errors["*"] = AWAY
    refusals(store, 1)
    clock.sleep(1.0)
    far.errors["*"] = stop
    with pytest.raises(type(stop)):
        store.run(STEP, "k")
    far.errors.clear()
    assert store.run(STEP, "k") == [1]
    assert [line for line in notes.told if line.startswith("degraded")] == ["degraded unreachable 1"]


def test_coroutines_and_threads_share_what_is_known() -> None:
    far, clock = Far(), ManualClock()
    store = guarded(far, clock)
    far.errors["*"] = AWAY
    with pytest.raises(SharedStateUnavailableError):
        asyncio.run(store.arun(STEP, "k"))
    assert refusals(store, 1) == ["paused"]
    clock.sleep(1.0)
    far.errors.clear()
    assert asyncio.run(store.arun(STEP, "k")) == [1]
    assert store.run(STEP, "k") == [1]


def test_jitter_takes_off_a_quarter_at_most() -> None:
    assert [POLICY.pause(1, luck) for luck in (0.0, 1.0)] == [1.0, 0.75]
    assert POLICY.pause(10_000, 0.0) == 2.5


@pytest.mark.parametrize(("first", "longest", "probe"), [(0.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 2.0, 0.0)])
def test_pauses_that_cannot_be_are_refused(first: float, longest: float, probe: float) -> None:
    with pytest.raises(ValueError, match=r"first pause|given time"):
        GuardPolicy(first, longest, probe)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # that is what it is about
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_child_of_a_process_whose_thread_was_inside_is_not_stuck() -> None:
    far = Far()
    far.errors["*"] = AWAY
    store = guarded(far, ManualClock())
    with store._lock:
        child = os.fork()
        if child == 0:
            try:
                store.run(STEP, "k")
            except SharedStateUnavailableError:
                os._exit(7)
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


class GuardMachine(RuleBasedStateMachine):
    """The guard against a model that remembers which calls its knowledge is about, instead of counting epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.guard = GuardedStore(MemoryStore(self.clock), clock=self.clock, random=lambda: 0.0, policy=POLICY)
        self.under_way: list[tuple[str, int]] = []
        self.telling: list[tuple[str, int]] = []
        self.failures = 0
        self.resume_at = 0.0

    @rule()
    def come(self) -> None:
        now = self.clock.monotonic()
        may_pass = not self.failures or now >= self.resume_at
        if self.failures and may_pass:
            self.telling = []
            self.resume_at = now + POLICY.probe_seconds
        if may_pass:
            call = self.guard.enter("k")
            self.under_way.append(call)
            self.telling.append(call)
        else:
            with pytest.raises(SharedStateUnavailableError) as refused:
                self.guard.enter("k")
            assert refused.value.retry_after_seconds == pytest.approx(self.resume_at - now)

    @precondition(lambda self: self.under_way)
    @rule(at=st.integers(0, 100), error=st.sampled_from([None, AWAY, WRONG, KeyboardInterrupt()]))
    def end(self, at: int, error: BaseException | None) -> None:
        call = self.under_way.pop(at % len(self.under_way))
        tells = call in self.telling
        if tells and call not in self.under_way:
            self.telling = [each for each in self.telling if each != call]
        self.guard.settle(*call, 0.01, error)
        if not tells:
            return
        if error is AWAY:
            self.failures += 1
            pause = min(2.0 ** (self.failures - 1), POLICY.longest_pause_seconds)
            self.resume_at, self.telling = self.clock.monotonic() + pause, []
        elif self.failures:
            self.telling = []
            if isinstance(error, KeyboardInterrupt):
                self.resume_at = self.clock.monotonic()
            else:
                self.failures = 0

    @rule(seconds=st.sampled_from([0.1, 0.9, 1.0, 2.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def teardown(self) -> None:
        """Whatever happened: once the longest pause is over and the other side is back, state is shared again."""
        self.clock.sleep(POLICY.longest_pause_seconds)
        assert self.guard.run(STEP, "k") == [1]
        assert self.guard.degraded() == ()


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(max_examples=times(40), stateful_step_count=40)
