"""What a look at the host costs: one sweep of the host's collectors, in processor time of this process.

The floor is the kernel's own part: the same files read through kept descriptors and not parsed. The peer is psutil,
asked for the same areas as its documentation shows. All are interleaved, so that a busy moment hits all of them; the
median of the rounds counts. ``python -m bench.sampling --json`` tells how the sweep splits by collector.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Collector, Host
from collectors_dagster.collectors.runner import Runner

HOST = ("cpu", "load", "memory", "disk", "network", "pressure", "protocols", "sockets", "limits", "clock")
"""What one host is: processes, groups of them and devices with drivers have figures of their own."""
SHARED = ("cpu", "load", "memory", "disk", "network")
"""What psutil reads too."""
FILES = (
    *("stat", "loadavg", "meminfo", "vmstat", "diskstats", "pressure/cpu", "pressure/memory", "pressure/io"),
    *("net/dev", "net/snmp", "net/netstat", "net/snmp6", "net/sockstat", "net/sockstat6"),
)
SHARED_SWEEP = "sweep of what psutil reads too"
ROUNDS = 40
CALLS = 100


def microseconds(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the processor time of one call."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls * 1e6


def kernels_part() -> Callable[[], None]:
    """Return what reads the files, and nothing else."""
    descriptors = []
    for name in FILES:
        with suppress(OSError):  # pressure and IPv6 may be compiled out
            descriptors.append(os.open(Path("/proc") / name, os.O_RDONLY))

    def read() -> None:
        for descriptor in descriptors:
            os.pread(descriptor, 16384, 0)

    return read


def asked_of_psutil() -> None:
    """Ask psutil for the same areas."""
    psutil.cpu_times(percpu=True)
    psutil.cpu_stats()
    psutil.getloadavg()
    psutil.virtual_memory()
    psutil.swap_memory()
    psutil.disk_io_counters(perdisk=True)
    psutil.net_io_counters(pernic=True)
    psutil.net_if_stats()
    for partition in psutil.disk_partitions():
        with suppress(OSError):
            psutil.disk_usage(partition.mountpoint)


def made(names: tuple[str, ...]) -> list[Collector]:
    """Return collectors, made anew."""
    return [one for one in collectors_of(Host(SystemClock())) if one.name in names]


def running(names: tuple[str, ...]) -> Runner:
    """Return a runner that reads all of these at every sweep, also those that are read now and then at work."""
    runner = Runner(made(names), SystemClock())
    for name in names:
        runner.read_every(name, 0.0)
    return runner


def measure() -> Report:
    """Warm up, then interleave floor, sweep and peer; the collectors one by one at the end."""
    runner, shared = (running(names) for names in (HOST, SHARED))
    series = len(runner.sweep().columns)
    contenders = {
        "kernel": kernels_part(),
        "sweep": runner.sweep,
        SHARED_SWEEP: shared.sweep,
        "psutil": asked_of_psutil,
    }
    for call in contenders.values():
        microseconds(call, 20)
    gc.freeze()  # as the agent does
    rounds = [{name: microseconds(call) for name, call in contenders.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in contenders}
    goals = (
        Goal("series in a sweep of the host", series, 246, "higher"),
        Goal("a sweep, milliseconds", median["sweep"] / 1000, 0.30),
        Goal("a sweep / the kernel's part of it", median["sweep"] / median["kernel"], 3.0),
        Goal("a sweep of what psutil reads too / psutil", median[SHARED_SWEEP] / median["psutil"], 0.4),
    )
    detail = {
        "median_microseconds": median,
        "lowest_microseconds": {name: min(each[name] for each in rounds) for name in contenders},
        "by_collector_microseconds": split(),
        "load_before": os.getloadavg(),
    }
    return Report("sampling", goals, detail)


def split() -> dict[str, dict[str, float]]:
    """Return the median of each collector alone, and its series."""
    found = {}
    for collector in made(HOST):
        series = len(collector.read().series)
        taken = statistics.median(microseconds(collector.read) for _ in range(ROUNDS // 4))
        found[collector.name] = {"microseconds": round(taken, 1), "series": series}
        collector.close()
    return found


if __name__ == "__main__":
    main(measure, __doc__)
