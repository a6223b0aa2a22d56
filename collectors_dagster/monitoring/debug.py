"""Looking into one running component: metrics, a profile, memory; switched in the configuration, no restart.

``debug.components.<name>.{metrics, profile, memory}`` and ``log.level`` are followed while the component runs, and a
settings file that turned bad is told in the log. Reports go to ``<home>/debug``, and only the newest are kept.
"""

import gc
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.logs import get_logger

if TYPE_CHECKING:
    from tracemalloc import Snapshot

    from pyinstrument import Profiler

# What measures is imported where it is switched on: a component that is not looked into does not pay its memory.

_log = get_logger("debug")
_METRICS_SECONDS = 10.0
_REPORT_SECONDS = 60.0
_KEPT_REPORTS = 5
_SHOWN_ALLOCATIONS = 25


class Switched(Protocol):
    """What is switched on for one component."""

    @property
    def metrics(self) -> bool:
        """Whether to log detailed metrics."""
        ...

    @property
    def profile(self) -> bool:
        """Whether to profile."""
        ...

    @property
    def memory(self) -> bool:
        """Whether to track allocations."""
        ...


class _Switches(Protocol):
    def of(self, component: str) -> Switched: ...


class _Level(Protocol):
    @property
    def level(self) -> str: ...


class Debugged(Protocol):
    """The settings, as far as debugging is concerned."""

    @property
    def home(self) -> Path:
        """The data directory; reports go below it."""
        ...

    @property
    def log(self) -> _Level:
        """Which lines are written."""
        ...

    @property
    def debug(self) -> _Switches:
        """What is switched on."""
        ...


class Watcher(Protocol):
    """Knows the settings as they are now."""

    def current(self) -> Debugged:
        """Return them; the same object for as long as nothing changed."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per thing that is wrong with their files."""
        ...


class DebugSession:
    """One component's debugging; :meth:`tick` belongs into its loop and costs next to nothing while all is off.

    Parameters
    ----------
    component : str
        The name under ``debug.components``.
    gauges : callable
        Returns the component's own figures, added to the detailed metrics.
    instance : str
        Ends the names of reports, where several processes of a component write at the same time.
    """

    def __init__(
        self,
        component: str,
        settings_watcher: Watcher,
        clock: Clock,
        gauges: Callable[[], Mapping[str, float]] = dict,
        instance: str = "",
    ) -> None:
        self._instance = f"-{instance}" if instance else ""
        self._component, self._watcher, self._clock, self._gauges = component, settings_watcher, clock, gauges
        self._profiler: Profiler | None = None
        self._tracing = False
        self._level = settings_watcher.current().log.level
        self._problems: tuple[str, ...] = ()
        self._metrics_at = self._profile_at = self._memory_at = 0.0

    def tick(self) -> None:
        """Follow the switches and write what is due; call it from the thread to be profiled."""
        settings = self._follow()
        switches = settings.debug.of(self._component)
        now = self._clock.monotonic()
        if switches.metrics and now >= self._metrics_at:
            self._metrics_at = now + _METRICS_SECONDS
            self._write_metrics()
        if switches.profile is not (self._profiler is not None) or (self._profiler and now >= self._profile_at):
            self._turn_profile(settings, on=switches.profile)
        if switches.memory is not self._tracing or (self._tracing and now >= self._memory_at):
            self._turn_memory(settings, on=switches.memory)

    def finish(self) -> None:
        """Write what is on once more, and stop: for a process that ends with its work."""
        settings = self._watcher.current()
        if settings.debug.of(self._component).metrics:
            self._write_metrics()
        if self._profiler:
            self._turn_profile(settings, on=False)
        if self._tracing:
            self._turn_memory(settings, on=False)

    def close(self) -> None:
        """Stop what is on without a report."""
        if self._profiler:
            self._profiler.stop()
            self._profiler = None
        if self._tracing:
            import tracemalloc  # noqa: PLC0415 - see above

            tracemalloc.stop()
            self._tracing = False

    def _follow(self) -> Debugged:
        """Take over a changed log level, and tell once when the settings files turn bad."""
        settings = self._watcher.current()
        if settings.log.level != self._level:
            self._level = settings.log.level
            _set_level(self._level)
        if self._watcher.problems != self._problems:
            self._problems = self._watcher.problems
            for line in self._problems:
                _log.warning("settings refused", problem=line)
        return settings

    def _write_metrics(self) -> None:
        import psutil  # noqa: PLC0415 - see above

        process = psutil.Process()
        times, memory = process.cpu_times(), process.memory_info()
        _log.info(
            "debug metrics",
            cpu_user_seconds=times.user,
            cpu_system_seconds=times.system,
            rss_bytes=memory.rss,
            threads=threading.active_count(),
            open_files=process.num_fds(),
            objects=sum(gc.get_count()),
            modules=len(sys.modules),
            **self._gauges(),
        )

    def _turn_profile(self, settings: Debugged, *, on: bool) -> None:
        """Write what was profiled so far, and go on with a fresh profile if it is still wanted."""
        if self._profiler:
            self._profiler.stop()
            report = self._profiler.output_text(unicode=True, show_all=False)
            self._keep(settings, "profile", report)
            self._profiler = None
        if on:
            from pyinstrument import Profiler  # noqa: PLC0415 - see above

            self._profiler = Profiler(interval=0.005, async_mode="disabled")
            self._profiler.start()
            self._profile_at = self._clock.monotonic() + _REPORT_SECONDS

    def _turn_memory(self, settings: Debugged, *, on: bool) -> None:
        import tracemalloc  # noqa: PLC0415 - see above

        if self._tracing:
            self._keep(settings, "memory", _allocations(tracemalloc.take_snapshot()))
        elif on:
            tracemalloc.start()
        if not on:
            tracemalloc.stop()
        self._tracing = on
        self._memory_at = self._clock.monotonic() + _REPORT_SECONDS

    def _keep(self, settings: Debugged, kind: str, report: str) -> None:
        directory = settings.home / "debug"
        directory.mkdir(parents=True, exist_ok=True)
        stamp = self._clock.now().strftime("%Y%m%dT%H%M%S")
        path = directory / f"{self._component}-{kind}-{stamp}{self._instance}.txt"
        path.write_text(report)
        _drop_old(directory, f"{self._component}-{kind}-*.txt")
        _log.info("debug report", kind=kind, path=str(path))


def _set_level(level: str) -> None:
    """Let the standard library's log follow; where it is not loaded, nobody writes to it."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger().setLevel(level.upper())


def _allocations(snapshot: "Snapshot") -> str:
    """Return the places that hold the most memory, largest first."""
    import tracemalloc  # noqa: PLC0415 - see above

    ours = snapshot.filter_traces([tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)])
    statistics = ours.statistics("lineno")
    total = sum(each.size for each in statistics)
    lines = [f"{each.size:>12} bytes {each.count:>8} blocks  {each.traceback}" for each in statistics]
    return "\n".join([f"{total} bytes traced", *lines[:_SHOWN_ALLOCATIONS]]) + "\n"


def _drop_old(directory: Path, pattern: str) -> None:
    for old in sorted(directory.glob(pattern))[:-_KEPT_REPORTS]:
        old.unlink(missing_ok=True)
