"""When to start, ask, kill and leave alone a process that may hang or crash: decisions only."""

from dataclasses import dataclass
from enum import Enum, auto

from collectors_dagster.patterns.retry import backoff_seconds


class Heard(Enum):
    """What came from the process since the last decision."""

    SILENCE = auto()
    PROGRESS = auto()
    """Part of an answer."""
    ANSWER = auto()
    ABSENCE = auto()
    """There is nothing to ask: no driver, no GPU."""
    END = auto()
    """It died, or gave up."""


class Act(Enum):
    """What to do now."""

    NOTHING = auto()
    START = auto()
    """Start a process and ask it."""
    ASK = auto()
    STOP = auto()
    """Make an end of the process, whatever state it is in."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds.

    Attributes
    ----------
    first_answer : float
        A driver that nobody else keeps awake takes seconds to wake each GPU.
    answer : float
        For every later answer.
    absence : float
        Before looking for a driver again. One that was there before is looked for sooner: it may be reloading.
    pause, longest_pause : float
        After the first failure, doubled after each further one up to the longest.
    health : float
        Failures are forgotten after a process has answered for this long.
    stuck : int
        Processes that even SIGKILL does not end (the driver holds them); no more are started beside so many.
    """

    first_answer: float = 30.0
    answer: float = 1.0
    absence: float = 300.0
    pause: float = 1.0
    longest_pause: float = 300.0
    health: float = 60.0
    stuck: int = 3


class Guard:
    """The state of one guarded process; while it lives it always has a question to answer.

    Examples
    --------
    >>> guard = Guard(Patience())
    >>> [guard.decide(heard, now).name for heard, now in (
    ...     (Heard.SILENCE, 0.0), (Heard.ANSWER, 1.0), (Heard.SILENCE, 1.9), (Heard.SILENCE, 2.1), (Heard.SILENCE, 2.2),
    ...     (Heard.SILENCE, 3.2))]
    ['START', 'ASK', 'NOTHING', 'STOP', 'NOTHING', 'START']
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._running = False
        self._answered = False
        self._seen = False
        self._failures = 0
        self._absences = 0
        self._started = 0.0
        self._since = 0.0
        self._due = float("-inf")

    @property
    def running(self) -> bool:
        """Whether there is a process to listen to."""
        return self._running

    def decide(self, heard: Heard, now: float, stuck: int = 0) -> Act:
        """Return what to do; the caller does it.

        Parameters
        ----------
        heard : Heard
            Only looked at while a process runs.
        now : float
            Monotonic seconds.
        stuck : int
            Earlier processes that did not end yet.
        """
        if not self._running:
            return self._start(now) if now >= self._due and stuck < self._patience.stuck else Act.NOTHING
        if heard is Heard.ANSWER:
            return self._ask(now)
        if heard is Heard.ABSENCE:
            return self._rest(now + self._absence())
        if heard is Heard.END or (heard is Heard.SILENCE and now - self._since > self._limit()):
            return self._fail(now)
        if heard is Heard.PROGRESS:
            self._since = now
        return Act.NOTHING

    def stopped(self) -> None:
        """Take note that the process was ended for other reasons; the next decision starts another."""
        self._rest(float("-inf"))

    def _start(self, now: float) -> Act:
        self._running, self._answered = True, False
        self._started = self._since = now
        return Act.START

    def _ask(self, now: float) -> Act:
        if now - self._started >= self._patience.health:
            self._failures = 0
        self._answered = self._seen = True
        self._absences = 0
        self._since = now
        return Act.ASK

    def _fail(self, now: float) -> Act:
        self._failures += 1
        return self._rest(now + self._pause(self._failures))

    def _rest(self, until: float) -> Act:
        self._running = False
        self._due = until
        return Act.STOP

    def _absence(self) -> float:
        self._absences += 1
        return min(self._patience.absence, self._pause(self._absences)) if self._seen else self._patience.absence

    def _pause(self, failures: int) -> float:
        return backoff_seconds(self._patience.pause, self._patience.longest_pause, failures, 1.0)

    def _limit(self) -> float:
        return self._patience.answer if self._answered else self._patience.first_answer
