"""The agent's sampling loop alone, in a process that does nothing else: started by ``bench.agent``."""

import gc
import json
import sys
import time
from pathlib import Path

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.quota import Quotas
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.agent.stop import Stop
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.collectors.runner import Runner

SECONDS = 60
WARM_SECONDS = 5
PAGE_BYTES = 4096
HOST = ("cpu", "load", "memory", "disk", "network", "pressure", "protocols", "sockets", "limits", "clock")
LOOPS = {"host": HOST, "with processes": (*HOST, "process")}
CLOCK = SystemClock()
QUOTAS = Quotas(10**9, 168.0, 10**9, 24.0)


def sample(names: tuple[str, ...], directory: Path) -> dict[str, float]:
    """Sample at 1 Hz for a minute in this process; return what it took. Run in a process that does nothing else."""
    collectors = [one for one in collectors_of(Host(CLOCK)) if one.name in names]
    directory.mkdir(parents=True)
    spool = Spool(directory, SegmentHeader("bench", "bench", "boot", "host"), SpoolLimits(QUOTAS, 5.0), CLOCK, Form())
    sampler = Sampler(Runner(collectors, CLOCK), spool, CLOCK)
    stop = Stop()
    marks: list[tuple[float, int]] = []

    def upkeep() -> None:
        if sampler.progress.sweeps == WARM_SECONDS and not marks:
            marks.append((time.process_time(), sampler.progress.sweeps))
        if sampler.progress.sweeps >= WARM_SECONDS + SECONDS:
            stop.set()

    gc.freeze()
    sampler.run(1.0, stop, upkeep)
    (began, first), taken = marks[0], time.process_time()
    spool.close()
    return {
        "series": float(sampler.progress.series),
        "cpu_ms_per_sweep": (taken - began) / (sampler.progress.sweeps - first) * 1000,
        "rss_mb": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(sample(LOOPS[sys.argv[1]], Path(sys.argv[2]))))
