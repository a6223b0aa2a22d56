"""The detached process behind `collectors up`: it keeps the lock it was given, and runs the loop until SIGTERM."""

import json
import os
import sys

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.settings_watcher import SettingsWatcher
from collectors_dagster.monitoring.debug import DebugSession
from collectors_dagster.monitoring.logging import configure_logging
from collectors_dagster.security.redaction import redactor_for
from collectors_dagster.supervisor.component import Component, selection
from collectors_dagster.supervisor.home import Home
from collectors_dagster.supervisor.loop import Hooks, Signals, Supervisor
from collectors_dagster.supervisor.stack import Stack


def main(lock: int) -> int:
    """Return 0 after an orderly end, 1 if the stack could not start.

    Parameters
    ----------
    lock : int
        File descriptor of the locked lock file. Nothing that is started here inherits it.
    """
    os.umask(0o077)
    os.set_inheritable(lock, False)  # noqa: FBT003  # the system call takes no keyword
    clock = SystemClock()
    settings = load_settings()
    configure_logging("supervisor", settings)
    home = Home(settings.home)
    watcher = SettingsWatcher(settings, clock)
    debug = DebugSession("supervisor", watcher, clock)

    def wanted() -> list[Component]:
        return selection(Stack(settings, clock).components(), json.loads(home.wanted.read_text()))

    def log_limits() -> tuple[int, int]:
        return watcher.current().log.max_bytes, watcher.current().log.backups

    hooks = Hooks(wanted, log_limits, debug.tick, redactor_for(settings).redact)
    return 0 if Supervisor(home, hooks, clock, Signals().wait).run() else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
