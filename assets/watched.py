"""Looking into a run: ``debug.components.runs``, read when its work begins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collectors_dagster.config.sections import DebugSwitches
from resources.deployment import Deployment

COMPONENT = "runs"


@contextmanager
def watched(deployment: Deployment, run_id: str) -> Iterator[Callable[[], None]]:
    """Measure the block as the settings say; yield what is to be called now and then while it lasts.

    The reports are in ``<home>/debug``, named after the run, when the block ends, also if it fails.
    """
    if deployment.settings.debug.of(COMPONENT) == DebugSwitches():
        yield lambda: None  # the profiler is not even imported: every run is a process of its own
        return
    from collectors_dagster.config.settings_watcher import SettingsWatcher
    from collectors_dagster.monitoring.debug import DebugSession

    watcher = SettingsWatcher(deployment.settings, deployment.clock)
    session = DebugSession(COMPONENT, watcher, deployment.clock, instance=run_id[:8])
    session.tick()
    try:
        yield session.tick
    finally:
        session.finish()
