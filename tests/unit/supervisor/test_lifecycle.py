"""The rules of one component's life, on a clock moved by hand."""

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.supervisor.lifecycle import (
    PATIENT,
    Action,
    Lifecycle,
    Observed,
    RestartPolicy,
    State,
    describe_exit,
)

RUNS = Observed()
ANSWERS = Observed(answers=True)
CRASHED = Observed(exit_code=1, last_line="no such table")


def started(clock: ManualClock, policy: RestartPolicy = PATIENT, *, one_shot: bool = False) -> Lifecycle:
    life = Lifecycle(clock, one_shot=one_shot, ready_seconds=30, policy=policy)
    assert life.step(RUNS) is Action.START
    return life


def crash(life: Lifecycle, clock: ManualClock) -> float:
    """Let a running component end, and return the pause until it is started again."""
    assert life.step(CRASHED) is Action.NOTHING
    begun = clock.monotonic()
    while life.state is State.BACKING_OFF and life.step(CRASHED) is not Action.START:
        clock.move(0.25)
    return clock.monotonic() - begun


def test_waits_for_what_it_needs(manual_clock: ManualClock) -> None:
    life = Lifecycle(manual_clock)
    assert life.step(Observed(needs_met=False)) is Action.NOTHING
    assert life.state is State.WAITING
    assert life.step(Observed(needs_met=True)) is Action.START


def test_is_ready_only_when_it_answers(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(RUNS)
    before = life.state
    life.step(ANSWERS)
    assert (before, life.state) == (State.STARTING, State.READY)


def test_a_silent_start_is_killed_after_its_time_and_tried_again(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    manual_clock.move(30)
    assert life.step(RUNS) is Action.NOTHING
    manual_clock.move(0.1)
    assert life.step(Observed(last_line="loading")) is Action.KILL
    assert life.state is State.BACKING_OFF
    assert life.message == "not ready within 30 s: loading"


def test_pauses_double_up_to_the_longest(manual_clock: ManualClock) -> None:
    policy = RestartPolicy(first_seconds=1, longest_seconds=4, crashes=6)
    life = started(manual_clock, policy)
    assert [crash(life, manual_clock) for _ in range(5)] == [1, 2, 4, 4, 4]


def test_gives_up_after_repeated_crashes_and_says_why(manual_clock: ManualClock) -> None:
    life = started(manual_clock, RestartPolicy(crashes=3))
    for _ in range(3):
        crash(life, manual_clock)
    assert life.state is State.FAILED
    assert life.message == "ended with code 1: no such table"
    manual_clock.move(10_000)
    assert life.step(CRASHED) is Action.NOTHING


def test_the_last_line_of_what_was_killed_is_not_taken_for_the_reason(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(Observed(exit_code=-9, last_line="all is well"))
    assert life.message == "was killed by signal 9"


def test_crashes_far_apart_do_not_add_up(manual_clock: ManualClock) -> None:
    life = started(manual_clock, RestartPolicy(crashes=3, within_seconds=60))
    for _ in range(10):
        crash(life, manual_clock)
        life.step(ANSWERS)
        manual_clock.move(61)
    assert life.state is State.READY
    assert life.restarts == 10


def test_waits_for_its_needs_after_a_crash_too(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(CRASHED)
    manual_clock.move(60)
    assert life.step(Observed(exit_code=1, needs_met=False)) is Action.NOTHING
    assert life.step(Observed(exit_code=1, needs_met=True)) is Action.START


def test_what_was_given_up_starts_again_when_asked(manual_clock: ManualClock) -> None:
    life = started(manual_clock, RestartPolicy(crashes=1))
    life.step(CRASHED)
    assert life.state is State.FAILED
    life.retry()
    assert life.step(CRASHED) is Action.START


def test_asking_again_leaves_a_running_component_alone(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(ANSWERS)
    life.retry()
    assert life.state is State.READY


@pytest.mark.parametrize(("code", "state"), [(0, State.DONE), (1, State.BACKING_OFF), (-9, State.BACKING_OFF)])
def test_a_step_that_runs_once_is_done_only_with_success(manual_clock: ManualClock, code: int, state: State) -> None:
    life = started(manual_clock, one_shot=True)
    life.step(Observed(exit_code=code))
    assert life.state is state


def test_a_server_that_ends_with_success_still_crashed(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(Observed(exit_code=0))
    assert life.state is State.BACKING_OFF


def test_a_ready_component_that_falls_silent_is_shown_so_and_not_restarted(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    life.step(ANSWERS)
    assert life.step(RUNS) is Action.NOTHING
    silent = life.state
    life.step(ANSWERS)
    assert (silent, life.state) == (State.SILENT, State.READY)


def test_since_tells_when_the_state_began(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    manual_clock.move(7)
    life.step(ANSWERS)
    ready_at = manual_clock.now()
    manual_clock.move(7)
    life.step(ANSWERS)
    assert life.since == ready_at


def test_becoming_ready_forgets_the_reason_of_the_last_crash(manual_clock: ManualClock) -> None:
    life = started(manual_clock)
    crash(life, manual_clock)
    life.step(ANSWERS)
    assert life.message == ""


def test_a_failure_stays_visible_when_the_stack_stops(manual_clock: ManualClock) -> None:
    life = started(manual_clock, RestartPolicy(crashes=1))
    life.step(CRASHED)
    life.stopped()
    assert life.state is State.FAILED


def test_an_exit_is_told_in_words() -> None:
    assert describe_exit(3) == "ended with code 3"
    assert describe_exit(-15) == "was killed by signal 15"
