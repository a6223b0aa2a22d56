"""The guard of a process that may hang: for any behaviour it asks one thing at a time, kills in time and backs off."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collectors_dagster.collectors.gpu.guard import Act, Guard, Heard, Patience
from tests.support.effort import times

PATIENCE = Patience()


class AnyProcess(RuleBasedStateMachine):
    """A process that says anything at any time, and a guard that is asked at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = Guard(PATIENCE)
        self.now = 0.0
        self.alive = False
        self.asked_at = 0.0
        self.answered = False
        self.failed_at = float("-inf")
        self.in_a_row = 0

    @rule(heard=st.sampled_from(Heard), seconds=st.floats(0, 400), stuck=st.integers(0, 4))
    def turn(self, heard: Heard, seconds: float, stuck: int) -> None:
        self.now += seconds
        act = self.guard.decide(heard, self.now, stuck)
        if act is Act.START:
            assert not self.alive, "a second process"
            assert stuck < PATIENCE.stuck
            assert self.now - self.failed_at >= PATIENCE.pause
            self.alive, self.answered, self.asked_at = True, False, self.now
        elif act is Act.ASK:
            assert self.alive
            assert heard is Heard.ANSWER, "a question was put before the one before it was answered"
            self.answered, self.asked_at = True, self.now
        elif act is Act.STOP:
            self.stop(heard)
        elif self.alive and heard is Heard.SILENCE:
            assert self.now - self.asked_at <= (PATIENCE.answer if self.answered else PATIENCE.first_answer)
        elif self.alive:
            assert heard is Heard.PROGRESS
            self.asked_at = self.now

    def stop(self, heard: Heard) -> None:
        assert self.alive
        if heard is Heard.SILENCE:
            assert self.now - self.asked_at > PATIENCE.answer, "killed although it had time left"
        else:
            assert heard in {Heard.END, Heard.ABSENCE}
        self.alive = False
        self.failed_at = self.now

    @invariant()
    def knows_whether_a_process_runs(self) -> None:
        assert self.guard.running == self.alive


AnyProcess.TestCase.settings = settings(max_examples=times(40), stateful_step_count=40)
TestAnyProcess = AnyProcess.TestCase


def pauses_after(heard: Heard, times: int, guard: Guard) -> list[float]:
    """Return the seconds between each end and the next start, of a process that ends at once."""
    now, found = 0.0, []
    assert guard.decide(Heard.SILENCE, now) is Act.START
    for _ in range(times):
        assert guard.decide(heard, now) is Act.STOP
        ended = now
        while guard.decide(Heard.SILENCE, now) is not Act.START:
            now += 0.5
        found.append(now - ended)
    return found


def test_pauses_double_up_to_the_longest() -> None:
    assert pauses_after(Heard.END, 11, Guard(PATIENCE)) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_driver_that_was_never_there_is_looked_for_every_five_minutes() -> None:
    assert pauses_after(Heard.ABSENCE, 3, Guard(PATIENCE)) == [300, 300, 300]


def test_a_driver_that_was_there_is_looked_for_soon() -> None:
    guard = Guard(PATIENCE)
    guard.decide(Heard.SILENCE, 0)
    guard.decide(Heard.ANSWER, 0)
    assert guard.decide(Heard.ABSENCE, 0) is Act.STOP
    assert guard.decide(Heard.SILENCE, 1) is Act.START


@given(st.floats(0, 59.9), st.floats(60, 1e6))
def test_failures_are_forgotten_after_a_minute_of_answers_and_not_before(short: float, long: float) -> None:
    for health, pause in ((short, 2.0), (long, 1.0)):
        guard = Guard(PATIENCE)
        assert guard.decide(Heard.SILENCE, 0) is Act.START
        assert guard.decide(Heard.END, 0) is Act.STOP
        assert guard.decide(Heard.SILENCE, 1) is Act.START
        assert guard.decide(Heard.ANSWER, 1 + health) is Act.ASK
        assert guard.decide(Heard.END, 1 + health) is Act.STOP
        assert guard.decide(Heard.SILENCE, 1 + health + pause - 0.01) is Act.NOTHING
        assert guard.decide(Heard.SILENCE, 1 + health + pause + 0.01) is Act.START


def test_an_answer_that_waited_long_is_an_answer() -> None:
    guard = Guard(PATIENCE)
    guard.decide(Heard.SILENCE, 0)
    assert guard.decide(Heard.ANSWER, 1000) is Act.ASK
    assert guard.decide(Heard.ANSWER, 5000) is Act.ASK


def test_a_process_ended_for_other_reasons_is_replaced_at_once() -> None:
    guard = Guard(PATIENCE)
    guard.decide(Heard.SILENCE, 0)
    guard.stopped()
    assert guard.decide(Heard.SILENCE, 0) is Act.START
