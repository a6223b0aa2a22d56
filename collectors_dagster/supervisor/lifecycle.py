"""The rules of one component's life: when to start, when to try again, when to give up. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from collectors_dagster.clock import Clock


class State(StrEnum):
    """What a component is doing, in the words of `collectors status`."""

    WAITING = "waiting"
    """For what it needs, or for its turn."""
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    """A step that ran once, successfully."""
    SILENT = "not answering"
    """It runs, and did answer, but does not now."""
    BACKING_OFF = "restarting"
    """It ended by itself and will be started again after a pause."""
    FAILED = "failed"
    """It was given up; `collectors up` tries again."""
    STOPPED = "stopped"
    UNSUPERVISED = "unsupervised"
    """It runs, but its supervisor is gone; `collectors up` and `down` see to it."""
    EXTERNAL = "external"
    """Not ours: named by the configuration."""

    @property
    def is_settled(self) -> bool:
        """Whether whoever waits for this component may go on."""
        return self in {State.READY, State.DONE, State.EXTERNAL}

    @property
    def is_unwell(self) -> bool:
        """Whether somebody should look at it."""
        return self in {State.SILENT, State.BACKING_OFF, State.FAILED, State.UNSUPERVISED}


class Action(StrEnum):
    """What the shell must do now."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Pauses that double, and an end of patience.

    Attributes
    ----------
    first_seconds, longest_seconds : float
        The pause after the first crash, and its limit.
    crashes, within_seconds
        This many crashes within this span mean failed.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    crashes: int = 5
    within_seconds: float = 300.0

    def pause(self, recent_crashes: int) -> float | None:
        """Return the seconds to wait after `recent_crashes`, or ``None`` to give up.

        Examples
        --------
        >>> [RestartPolicy().pause(n) for n in (1, 2, 3, 4, 5)]
        [0.5, 1.0, 2.0, 4.0, None]
        """
        if recent_crashes >= self.crashes:
            return None
        return float(min(self.first_seconds * 2 ** (recent_crashes - 1), self.longest_seconds))


PATIENT = RestartPolicy()
"""For what was ready once: its work is worth some waiting."""
FIRST_START = RestartPolicy(crashes=3)
"""While `collectors up` waits: give up early, so that the reason is seen."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the shell sees of a component at one instant.

    Attributes
    ----------
    exit_code : int or None
        Of the process that was started last; ``None`` while it runs.
    answers : bool
        Whether the probe succeeded; looked at only while the process runs.
    needs_met : bool
        Whether everything this component needs is ready.
    last_line : str
        Of its log, for the message of a crash.
    """

    exit_code: int | None = None
    answers: bool = False
    needs_met: bool = True
    last_line: str = ""


class Lifecycle:
    """One component's state, moved by what is observed.

    Parameters
    ----------
    one_shot : bool
        The component ends by itself, and 0 is success.
    ready_seconds : float
        Longer than this without an answer after a start is a crash.
    """

    def __init__(
        self, clock: Clock, *, one_shot: bool = False, ready_seconds: float = 90.0, policy: RestartPolicy = FIRST_START
    ) -> None:
        self._clock = clock
        self._one_shot = one_shot
        self._ready_seconds = ready_seconds
        self.policy = policy
        self.state = State.WAITING
        self.since: datetime = clock.now()
        self.restarts = 0
        self.message = ""
        self._crashes: list[float] = []
        self._started = 0.0
        self._resume_at = 0.0

    def step(self, observed: Observed) -> Action:
        """Take in what is observed and say what to do."""
        match self.state:
            case State.WAITING:
                return self._start() if observed.needs_met else Action.NOTHING
            case State.BACKING_OFF:
                due = self._clock.monotonic() >= self._resume_at
                return self._start() if due and observed.needs_met else Action.NOTHING
            case State.STARTING | State.READY | State.SILENT:
                return self._watch(observed)
            case _:
                return Action.NOTHING

    def retry(self) -> None:
        """Forget that it was given up: `collectors up` was called again."""
        if self.state in {State.FAILED, State.STOPPED}:
            self._crashes.clear()
            self._enter(State.WAITING)

    def could_not_start(self, reason: str) -> None:
        """Count a start that did not even give a process."""
        self._crash(reason)

    def stopped(self) -> None:
        """Note that the component was stopped on purpose."""
        if self.state is not State.FAILED:
            self._enter(State.STOPPED)

    def _start(self) -> Action:
        self._started = self._clock.monotonic()
        self._enter(State.STARTING)
        return Action.START

    def _watch(self, observed: Observed) -> Action:
        if observed.exit_code is not None:
            self._ended(observed)
        elif self._one_shot or self.state is State.STARTING:
            return self._wait_for_answer(observed)
        else:
            self._enter(State.READY if observed.answers else State.SILENT)
        return Action.NOTHING

    def _wait_for_answer(self, observed: Observed) -> Action:
        if observed.answers and not self._one_shot:
            self._enter(State.READY)
        elif self._clock.monotonic() - self._started > self._ready_seconds:
            self._crash(f"not ready within {self._ready_seconds:g} s", observed.last_line)
            return Action.KILL
        return Action.NOTHING

    def _ended(self, observed: Observed) -> None:
        if self._one_shot and observed.exit_code == 0:
            self._enter(State.DONE)
        else:
            code = observed.exit_code or 0
            self._crash(describe_exit(code), observed.last_line if code > 0 else "")  # who is killed says nothing

    def _crash(self, reason: str, last_line: str = "") -> None:
        now = self._clock.monotonic()
        self._crashes = [at for at in self._crashes if now - at < self.policy.within_seconds] + [now]
        pause = self.policy.pause(len(self._crashes))
        if pause is None:
            self._enter(State.FAILED)
        else:
            self._enter(State.BACKING_OFF)
            self.restarts += 1
            self._resume_at = now + pause
        self.message = f"{reason}: {last_line}" if last_line else reason

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        self.since = self._clock.now()
        if state.is_settled:
            self.message = ""


def describe_exit(code: int) -> str:
    """Return an exit status in words.

    Examples
    --------
    >>> describe_exit(1), describe_exit(-9)
    ('ended with code 1', 'was killed by signal 9')
    """
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
