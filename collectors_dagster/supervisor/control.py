"""How a command talks to the supervisor: the lock, signals, and the state file."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.files import write_atomically
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.checks import check_machine, check_ports
from collectors_dagster.supervisor.component import Ending, in_stop_order, selection
from collectors_dagster.supervisor.home import Home
from collectors_dagster.supervisor.lifecycle import State
from collectors_dagster.supervisor.processes import Identity, end_each, identify, stop_together
from collectors_dagster.supervisor.snapshot import StackSnapshot
from collectors_dagster.supervisor.stack import MARK, Stack, location

_ORDERLY = Ending(seconds=150.0)
"""More than all components may take together: the supervisor kills the slow ones itself."""
_POLL_SECONDS = 0.1
_FIRST_WORD_SECONDS = 30.0
_MARKED_SECONDS = 15.0

Watcher = Callable[[StackSnapshot], None]


def bring_up(settings: Settings, only: Sequence[str], clock: Clock, watch: Watcher) -> StackSnapshot:
    """Start what is wanted and does not run yet; return when all of it is ready.

    Parameters
    ----------
    only : sequence of str
        Names of components; empty means all.
    watch : callable
        Is shown each state of the stack, to tell of the progress.

    Raises
    ------
    StartupError
        If it cannot start. A stack that this call began is gone then; one that ran before goes on.
    """
    check_machine(settings)
    home = Home(settings.home)
    home.make()
    with _one_at_a_time(home):
        return _bring_up(settings, only, clock, watch)


def _bring_up(settings: Settings, only: Sequence[str], clock: Clock, watch: Watcher) -> StackSnapshot:
    home = Home(settings.home)
    stack = Stack(settings, clock)
    stack.check()
    wanted = {component.name for component in selection(stack.components(), only)}
    running = _settled_state(home, clock)
    if running and running.is_running and not running.reason:
        _widen(home, running, only)
        return _Follower(home, wanted, running.supervisor, running.requests, clock).follow(watch)
    try:
        supervisor = _start(settings, home, only, clock)
        return _Follower(home, wanted, supervisor, 0, clock).follow(watch)
    except (StartupError, KeyboardInterrupt):
        take_down(settings, clock)
        raise


def take_down(settings: Settings, clock: Clock) -> list[str]:
    """Stop the supervisor and everything it started; return the names of what ran."""
    home = Home(settings.home)
    state = _settled_state(home, clock)
    names = [each.name for each in state.components if each.process and each.process.members()] if state else []
    _end_supervisor(state, clock)
    _stop_left_overs(home, clock)
    return names


@contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    """Let a second `collectors up` wait for the first: it then finds everything ready."""
    with (home.run / "up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_supervisor(state: StackSnapshot | None, clock: Clock) -> None:
    if state and state.is_running:
        stop_together([(state.supervisor, _ORDERLY)], clock)


def _settled_state(home: Home, clock: Clock) -> StackSnapshot | None:
    """Return the state file, but wait for that of a supervisor which has just begun: it holds the lock already."""
    deadline = clock.monotonic() + _FIRST_WORD_SECONDS
    while True:
        state = StackSnapshot.read(home.state)
        if (state and state.is_running) or not _is_locked(home) or clock.monotonic() > deadline:
            return state
        clock.sleep(_POLL_SECONDS)


def _is_locked(home: Home) -> bool:
    """Return whether a supervisor lives."""
    if not home.lock.exists():
        return False
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _start(settings: Settings, home: Home, only: Sequence[str], clock: Clock) -> Identity:
    """Clear what an earlier supervisor left, and start a new one in a session of its own.

    It inherits the lock that is taken here, so no other can begin while it still loads: not even if we are killed now.
    """
    _end_supervisor(StackSnapshot.read(home.state), clock)  # one whose own start failed may still be stopping
    _stop_left_overs(home, clock)
    check_ports(settings, selection(Stack(settings, clock).components(), only))
    _want(home, only)
    home.state.unlink(missing_ok=True)
    with home.log_of("supervisor").open("ab") as output, home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError("a supervisor of this home runs but says nothing; say collectors down first") from None
        supervisor = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-m", "collectors_dagster.supervisor", str(lock.fileno())],
            cwd=PROJECT_ROOT,
            env=dict(process_environment()) | location(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    return identify(supervisor.pid) or Identity(supervisor.pid, "")


def _widen(home: Home, running: StackSnapshot, only: Sequence[str]) -> None:
    """Add what is wanted to what runs already, and have it try again what it gave up."""
    wanted: list[str] = json.loads(home.wanted.read_text())
    if wanted:
        _want(home, sorted({*wanted, *only}) if only else [])
    running.supervisor.send(signal.SIGHUP, whole_group=False)


def _want(home: Home, only: Sequence[str]) -> None:
    write_atomically(home.wanted, json.dumps(list(only)).encode())


@dataclass(frozen=True, slots=True)
class _Follower:
    """Watches a supervisor until what is wanted is ready.

    Attributes
    ----------
    requests : int
        What it had noted of requests before ours.
    """

    home: Home
    wanted: Collection[str]
    supervisor: Identity
    requests: int
    clock: Clock

    def follow(self, watch: Watcher) -> StackSnapshot:
        """Return when all is ready."""
        while True:
            alive = self.supervisor.is_alive  # asked first: what it wrote last is read even if it ended meanwhile
            state = StackSnapshot.read(self.home.state)
            if state and state.requests > self.requests:
                watch(state)
                self._check(state)
                if self._is_ready(state):
                    return state
            if not alive:
                log = self.home.log_of("supervisor")
                raise StartupError(f"the supervisor ended unexpectedly: see {log}, then say collectors up again")
            self.clock.sleep(_POLL_SECONDS)

    def _check(self, state: StackSnapshot) -> None:
        if state.reason:
            raise StartupError(state.reason)
        for each in state.components:
            if each.name in self.wanted and each.state is State.FAILED:
                raise StartupError(f"{each.name} {each.message} (see {each.log})")

    def _is_ready(self, state: StackSnapshot) -> bool:
        ready = {each.name for each in state.components if each.state.is_settled}
        return ready.issuperset(self.wanted)


def _stop_left_overs(home: Home, clock: Clock) -> None:
    """Stop what runs without its supervisor: first what was recorded, in order, then what carries our mark."""
    state = StackSnapshot.read(home.state)
    for wave in in_stop_order(state.components) if state else []:
        stop_together([(each.process, each.ending) for each in wave if each.process], clock)
    end_each(_marked(home), _MARKED_SECONDS, clock)


def _marked(home: Home) -> list[Identity]:
    """Return processes that descend from a component of this home, except those that we descend from ourselves."""
    above = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = [identify(pid) for pid in psutil.pids() if pid not in above and _mark_of(pid) == str(home.root)]
    return [process for process in found if process]


def _mark_of(pid: int) -> str:
    try:
        return psutil.Process(pid).environ().get(MARK, "")
    except (psutil.Error, OSError):
        return ""
