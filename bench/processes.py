"""What a look at all processes costs per process, beside its floor and a peer.

The floor is the kernel's part: reading ``/proc/PID/stat`` through open descriptors, and doing nothing with it. The peer
is psutil with the same figures. A few hundred processes that sleep stand in for a full host. CPU time, not wall time.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil

from bench.report import Goal, Report, main
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.descriptors import raise_limit
from collectors_dagster.collectors.process import INTERVAL_SECONDS, Processes
from collectors_dagster.collectors.protocol import Host

SLEEPERS = 300
ROUNDS = 30
FIGURES = ["name", "username", "cpu_times", "memory_info", "num_threads", "status"]


@contextmanager
def sleepers(number: int) -> Iterator[list[int]]:
    """Keep processes that do nothing, and yield their numbers."""
    with ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(["sleep", "600"])) for _ in range(number)]
        for process in running:
            stack.callback(process.kill)  # before the waiting, which was entered earlier
        yield [process.pid for process in running]


def cpu_microseconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6


def measure() -> Report:
    """Interleave floor, ours and peer, and compare medians per process."""
    raise_limit()
    clock = ManualClock()
    collector = Processes(Host(clock))
    with sleepers(SLEEPERS) as pids:
        descriptors = [os.open(f"/proc/{pid}/stat", os.O_RDONLY) for pid in pids]

        def floor() -> None:
            for descriptor in descriptors:
                os.pread(descriptor, 4096, 0)

        def look() -> None:
            clock.sleep(INTERVAL_SECONDS)
            collector.read()

        look()
        rounds: dict[str, list[float]] = {"floor": [], "ours": [], "psutil": []}
        for _ in range(ROUNDS):
            rounds["floor"].append(cpu_microseconds(floor) / SLEEPERS)
            rounds["ours"].append(cpu_microseconds(look) / collector.processes)
            count = len(psutil.pids())
            rounds["psutil"].append(cpu_microseconds(lambda: list(psutil.process_iter(FIGURES))) / count)
        for descriptor in descriptors:
            os.close(descriptor)
    collector.close()
    median = {name: statistics.median(each) for name, each in rounds.items()}
    goals = (
        Goal("CPU microseconds per user process and look", median["ours"], 11),
        Goal("ours / psutil", median["ours"] / median["psutil"], 0.2),
        Goal("ours / the kernel's part", median["ours"] / median["floor"], 2.5),
    )
    return Report("processes", goals, {"median_microseconds": median, "processes": collector.processes})


if __name__ == "__main__":
    main(measure, __doc__)
