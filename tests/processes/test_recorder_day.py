"""A day of the flight recorder, 250 series once a second, in minutes: small on disk, small in memory, quick."""

import math
import random
import tempfile
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import process_time

import pytest

from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column, Sweep
from collectors_dagster.samples import Kind, Metric
from tests.support.effort import times
from tests.support.spools import open_spool

SERIES = 250
HOURS = min(times(6), 24)
"""A quarter of a day on any day: what grows does so by the hour."""
SEED = 20261125


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory in memory where there is one: the day's fsyncs are not what is measured."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


def host_columns() -> tuple[Column, ...]:
    """Return 250 series: four in ten counters, a third constant, the rest gauges, as on a real host."""
    return tuple(
        Column("host", Metric(f"m{n}", Kind.COUNTER if n % 10 < 4 else Kind.GAUGE, "units", "", peak=n % 10 == 9))
        for n in range(SERIES)
    )


def minute_of_host(counters: list[float], noise: random.Random) -> list["array[float]"]:
    """Return a minute of sweeps: ticks, bytes, hundredths and ratios that move as those of a real host do."""
    sweeps = []
    for _ in range(60):
        for n in range(SERIES):
            if n % 10 < 2:
                counters[n] += noise.choice((0, 0, 0.01, 0.25, 0.98))
            elif n % 10 < 4:
                counters[n] += noise.choice((0, 0, 512, 4096, 20480))
            elif n % 10 < 6:
                counters[n] = 4096.0 * noise.randrange(200_000, 200_400)
            elif n % 10 == 9:
                counters[n] = noise.choice((0.0, 0.25, 1.51, 2 / 3, 0.1))
        sweeps.append(array("d", counters))
    return sweeps


def resident_bytes() -> int:
    """Return what this process has for itself; pages of files come and go as the kernel likes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def append_hour(spool: Spool, clock: ManualClock, columns: tuple[Column, ...], hour: list["array[float]"]) -> float:
    """Append an hour of sweeps; return the longest upkeep, in seconds of processor time."""
    longest = 0.0
    for values in hour:
        clock.sleep(1)
        spool.append(Sweep(columns, values), round(clock.now().timestamp()) * 10**9, round(clock.monotonic()) * 10**9)
        started = process_time()
        spool.tend()
        longest = max(longest, process_time() - started)
    spool.release(spool.next_seq - 1)
    return longest


@dataclass(frozen=True)
class Day:
    """What a day took."""

    growth_bytes: int
    upkeep_seconds: float
    segments: int


def a_day(directory: Path) -> Day:
    """Append a day of sweeps in this process; say what came after its first two hours."""
    clock = ManualClock()
    noise, counters = random.Random(SEED), [1e6 + n for n in range(SERIES)]
    hour = [values for _ in range(10) for values in minute_of_host(counters, noise)] * 6
    columns = host_columns()
    spool = open_spool(directory, clock)
    longest = [append_hour(spool, clock, columns, hour) for _ in range(2)]
    early = resident_bytes()
    longest += [append_hour(spool, clock, columns, hour) for _ in range(HOURS - 2)]
    day = Day(resident_bytes() - early, sorted(longest)[HOURS // 2], spool.statistics.recorder_segments)
    spool.close()
    return day


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from Linux")
def test_a_day_fits_on_the_disk_and_in_memory_and_never_holds_up_a_sweep(directory: Path) -> None:
    """In a process of its own, as the agent is one: in that of many tests memory grows for other reasons."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        day = pool.submit(a_day, directory).result()
    assert day.growth_bytes < 2 * 1024**2 * HOURS / 24
    assert math.isclose(day.segments, 60 * HOURS, abs_tol=2)
    assert sum(path.stat().st_size for path in directory.glob("*.seg*")) < 40 * 1024**2 * HOURS / 24
    assert day.upkeep_seconds < 0.1
