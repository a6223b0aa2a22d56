"""The agent's own process: what ``collectors agent run`` becomes. Loads no more than it needs."""

import sys

from collectors_dagster.agent.lines import write_lines
from collectors_dagster.agent.plan_watcher import PlanWatcher, read_plan
from collectors_dagster.agent.process import run_agent
from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import CollectorsError
from collectors_dagster.security.redaction import redactor_for


def main() -> int:
    """Sample this host and deliver until SIGTERM."""
    clock = SystemClock()
    try:
        watcher = PlanWatcher(read_plan(), clock)
        write_lines("agent", redactor_for(watcher.current()), lambda: watcher.current().log.level)
        run_agent(watcher, clock)
    except CollectorsError as error:
        sys.stderr.write(f"collectors: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
