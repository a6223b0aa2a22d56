"""The supervisor itself: one thread that starts, watches and stops, and sleeps in between."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from collectors_dagster import __version__
from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError
from collectors_dagster.supervisor.component import Component, Running, in_start_order, in_stop_order
from collectors_dagster.supervisor.home import Home
from collectors_dagster.supervisor.intake import Intake
from collectors_dagster.supervisor.lifecycle import PATIENT, Action, Lifecycle, Observed, State
from collectors_dagster.supervisor.logfiles import last_line, rotate
from collectors_dagster.supervisor.processes import Identity, identify, start, stop, stop_together
from collectors_dagster.supervisor.snapshot import ComponentSnapshot, StackSnapshot

_log = structlog.get_logger()
_BUSY_SECONDS, _QUIET_SECONDS = 0.2, 1.0
_PROBE_SECONDS, _ROTATE_SECONDS = 15.0, 30.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop asks others for.

    Attributes
    ----------
    wanted : callable
        Returns the components that should run now; called at the start and at each SIGHUP.
    log_limits : callable
        Returns the size at which a log is rotated, and the number of older files kept.
    tick : callable
        Called in each turn: the supervisor's own debugging.
    redact : callable
        Takes secrets out of a line that is shown to people.
    """

    wanted: Callable[[], Sequence[Component]]
    log_limits: Callable[[], tuple[int, int]]
    tick: Callable[[], None] = lambda: None
    redact: Callable[[str], str] = lambda line: line


@dataclass(slots=True)
class _Part:
    """A component together with its life and its process."""

    component: Component
    life: Lifecycle
    popen: subprocess.Popen[bytes] | None = None
    process: Identity | None = None
    started_at: float = 0.0
    log_offset: int = 0
    probe_at: float = 0.0
    answered: bool = False
    shown: ComponentSnapshot | None = field(default=None, repr=False)


class Signals:
    """Signals as something to wait for, so that the loop sleeps until there is something to do."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self.NUMBERS:
            signal.signal(number, lambda *_: None)

    def wait(self, seconds: float) -> set[int]:
        """Sleep until a signal comes, `seconds` at most; return those that came."""
        select.select([self._reader], [], [], seconds)
        with suppress(BlockingIOError):
            return set(os.read(self._reader, 256))
        return set()


class Supervisor:
    """Keeps the wanted components running until it is told to end, or cannot start them."""

    def __init__(self, home: Home, hooks: Hooks, clock: Clock, wait: Callable[[float], set[int]]) -> None:
        self._home, self._hooks, self._clock, self._wait = home, hooks, clock, wait
        self._parts: dict[str, _Part] = {}
        self._settled = False
        self._reason = ""
        self._requests = self._published = 0
        self._rotate_at = 0.0
        self._since = clock.now().isoformat(timespec="seconds")
        self._self = _must_identify(os.getpid())

    def run(self) -> bool:
        """Run until SIGTERM; return whether the stack had started."""
        self._take_in_wanted()
        while not self._reason:
            self._turn()
            came = self._wait(_QUIET_SECONDS if self._is_quiet() else _BUSY_SECONDS)
            if came & {signal.SIGTERM, signal.SIGINT}:
                break
            if signal.SIGHUP in came:
                self._take_in_wanted()
        self._stop_all()
        return not self._reason

    def _take_in_wanted(self) -> None:
        self._requests += 1
        for component in in_start_order(self._hooks.wanted()):
            part = self._parts.get(component.name)
            if part:
                part.life.retry()
                continue
            life = Lifecycle(self._clock, one_shot=component.one_shot, ready_seconds=component.ready_seconds)
            self._parts[component.name] = _Part(component, life)

    def _turn(self) -> None:
        self._take_output()
        for part in self._parts.values():
            self._step(part)
        self._note_start()
        self._rotate_logs()
        self._hooks.tick()
        self._publish()

    def _take_output(self) -> None:
        for part in self._parts.values():
            with suppress(OSError):  # a full disk ends no supervision: the lines wait where they are
                self._intake(part).take()

    def _take_last_output(self, part: _Part) -> None:
        with suppress(OSError):
            self._intake(part).take(ended=True)

    def _intake(self, part: _Part) -> Intake:
        name = part.component.name
        return Intake(name, self._home.output_of(name), self._home.log_of(name), self._clock, self._hooks.redact)

    def _step(self, part: _Part) -> None:
        action = part.life.step(self._observe(part))
        if action is Action.START:
            self._start(part)
        elif action is Action.KILL and part.process:
            stop(part.process, part.component.ending, self._clock)

    def _observe(self, part: _Part) -> Observed:
        code = part.popen.poll() if part.popen else None
        line = "" if code is None else self._last_line(part)
        needs_met = all(self._parts[need].life.state.is_settled for need in part.component.needs if need in self._parts)
        return Observed(code, code is None and self._answers(part), needs_met, line)

    def _answers(self, part: _Part) -> bool:
        """Ask the probe: at each turn while it starts, seldom afterwards."""
        now = self._clock.monotonic()
        if part.popen is None or part.component.one_shot:
            return False
        if part.life.state is not State.READY or now >= part.probe_at:
            running = Running(part.popen.pid, part.log_offset, part.started_at)
            part.answered = part.component.answers(running)
            part.probe_at = now + _PROBE_SECONDS
        return part.answered

    def _start(self, part: _Part) -> None:
        if part.process:  # what an earlier life of it left in its group
            stop(part.process, replace(part.component.ending, whole_group=True, seconds=2.0), self._clock)
        part.popen = part.process = None
        self._take_last_output(part)
        log = self._home.log_of(part.component.name)
        part.log_offset = log.stat().st_size if log.exists() else 0
        self._publish()  # preparing may take seconds: a cluster is made
        part.started_at = self._clock.now().timestamp()
        try:
            part.popen = start(part.component.prepare(), self._home.output_of(part.component.name))
        except (OSError, CollectorsError, subprocess.SubprocessError) as error:
            part.life.could_not_start(self._hooks.redact(" ".join(str(error).split())))
            return
        part.process = identify(part.popen.pid)
        _log.info("started", started=part.component.name, pid=part.popen.pid)
        self._publish()  # before anything else: a supervisor that is killed now leaves no unknown process

    def _last_line(self, part: _Part) -> str:
        self._take_last_output(part)
        log = self._home.log_of(part.component.name)
        size = log.stat().st_size if log.exists() else 0
        return self._hooks.redact(last_line(log, part.log_offset if part.log_offset <= size else 0))

    def _note_start(self) -> None:
        """Be patient with what was ready once; before everything was, a component that is given up ends the start."""
        if self._settled:
            for part in self._parts.values():
                part.life.policy = PATIENT if part.life.state.is_settled else part.life.policy
            return
        failed = next((p for p in self._parts.values() if p.life.state is State.FAILED), None)
        if failed:
            name = failed.component.name
            self._reason = f"{name} {failed.life.message} (see {self._home.log_of(name)})"
            _log.error("start failed", failed=name, reason=failed.life.message)
        elif all(part.life.state.is_settled for part in self._parts.values()):
            self._settled = True
            _log.info("everything is ready")

    def _is_quiet(self) -> bool:
        return all(part.life.state.is_settled or part.life.state is State.FAILED for part in self._parts.values())

    def _rotate_logs(self) -> None:
        if self._clock.monotonic() < self._rotate_at:
            return
        self._rotate_at = self._clock.monotonic() + _ROTATE_SECONDS
        max_bytes, backups = self._hooks.log_limits()
        for log in self._home.logs.glob("*.log"):
            if rotate(log, max_bytes=max_bytes, backups=backups):
                _log.info("rotated", log=log.name)

    def _publish(self) -> None:
        """Write the state file if anything in it changed."""
        shown = {name: self._show(part) for name, part in self._parts.items()}
        fresh = any(part.shown != shown[name] for name, part in self._parts.items())
        if not (fresh or self._reason or self._requests != self._published):
            return
        for name, part in self._parts.items():
            if part.shown and part.shown.state is not shown[name].state:
                _log.info("changed", changed=name, state=shown[name].state, message=shown[name].message)
            part.shown = shown[name]
        everything = list(shown.values())
        state = StackSnapshot(self._self, self._since, __version__, everything, self._reason, self._requests)
        state.write(self._home.state)
        self._published = self._requests

    def _show(self, part: _Part) -> ComponentSnapshot:
        running = part.popen is not None and part.popen.returncode is None
        return ComponentSnapshot(
            name=part.component.name,
            state=part.life.state,
            since=part.life.since.isoformat(timespec="seconds"),
            process=part.process if running else None,
            needs=part.component.needs,
            restarts=part.life.restarts,
            address=part.component.address,
            version=part.component.version,
            look_at=part.component.look_at,
            message=part.life.message,
            log=str(self._home.log_of(part.component.name)),
            ending=part.component.ending,
        )

    def _stop_all(self) -> None:
        for wave in in_stop_order([part.component for part in self._parts.values()]):
            parts = [self._parts[component.name] for component in wave]
            running = [(part.process, part.component.ending) for part in parts if part.process]
            for killed in stop_together(running, self._clock):
                _log.warning("killed, it did not end in time", pid=killed.pid)
            for part in parts:
                self._note_stop(part)
            self._publish()

    def _note_stop(self, part: _Part) -> None:
        if part.popen:
            part.popen.wait()
            self._take_last_output(part)
        part.life.stopped()


def _must_identify(pid: int) -> Identity:
    identity = identify(pid)
    if identity is None:
        raise ProcessLookupError(pid)
    return identity
