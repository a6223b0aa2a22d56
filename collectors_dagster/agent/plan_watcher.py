"""The plan as it is now: files are watched here, and read by a process of their own when they change."""

import subprocess
import sys
import threading
from collections.abc import Callable

from collectors_dagster.clock import Clock
from collectors_dagster.config.agent_plan import AgentPlan, loaded
from collectors_dagster.config.watching import POLL_SECONDS, Fingerprint
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.logs import get_logger

log = get_logger("agent")

READING_SECONDS = 60.0
"""A reading that takes longer has failed: it takes a second on an idle machine."""
FOLLOWED = ("log.level", "debug.components")
"""Settings that hold from the next moment on; everything else is read when the agent starts."""


def read_plan(before: str = "") -> AgentPlan:
    """Read settings and tenants in a process that ends, and its memory with it.

    Parameters
    ----------
    before : str
        ``settings`` of the plan that holds until now: they go on to hold while the files are bad.

    Raises
    ------
    ConfigurationError
        If there is no plan; a line per problem.
    """
    command = [sys.executable, "-m", "collectors_dagster.config.agent_planning"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=before, capture_output=True, text=True, timeout=READING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"settings and tenants cannot be read now: {type(error).__name__}") from error
    if done.returncode:
        raise ConfigurationError(done.stderr.strip() or f"reading settings and tenants ended with {done.returncode}")
    return loaded(done.stdout)


class PlanWatcher:
    """Holds the newest plan, which any thread may ask for; :meth:`look` belongs to one.

    Parameters
    ----------
    plan : AgentPlan
        What the agent was started with.
    read : callable
        As :func:`read_plan`.
    """

    def __init__(self, plan: AgentPlan, clock: Clock, read: Callable[[str], AgentPlan] = read_plan) -> None:
        self._first = self._plan = plan
        self._clock = clock
        self._read = read
        self._fingerprint = Fingerprint(clock)
        self._fingerprint.changed(plan.watched)
        self._next_look = clock.monotonic()
        self._trouble: tuple[str, ...] = ()
        self.asked = threading.Event()
        """Set it to have everything read anew at the next look; a signal handler may."""

    def current(self) -> AgentPlan:
        """Return the plan; the same object for as long as nothing changed."""
        return self._plan

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per thing that is wrong with the settings as they are; empty when all is well."""
        return self._trouble or self._plan.problems

    def look(self) -> None:
        """Take over what changed, if it is time to look or somebody asked."""
        asked = self.asked.is_set()
        if not asked and self._clock.monotonic() < self._next_look:
            return
        self._next_look = self._clock.monotonic() + POLL_SECONDS
        self.asked.clear()
        if self._fingerprint.changed(self._plan.watched) or asked:
            self._take_over()
        if asked:
            self._tell()

    def _take_over(self) -> None:
        try:
            found = self._read(self._plan.settings.text)
        except ConfigurationError as error:
            self._trouble = tuple(f"{line}; keeping everything as it was" for line in str(error).splitlines())
            return
        self._trouble = ()
        if found != self._plan:
            self._plan = found

    def _tell(self) -> None:
        changed = self._plan.changed_since(self._first)
        log.info("settings and tenants read again", differing_from_start=list(changed), problems=len(self.problems))
        waiting = [name for name in changed if name not in FOLLOWED]
        if waiting:
            log.warning("these settings hold after a restart", settings=waiting, remedy="restart the agent")
