"""One window streamed into the store by a process that does nothing else, and may be killed.

Prints a line for each piece that is asked for, and its own memory at the end as JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.sifting import Piece
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey

DAY = Window.of_day("2026-01-06")
SECONDS = 86_400
PIECE_ROWS = 100_000


def pieces(series: int, rows: int) -> Iterator[Piece]:
    """Yield rows in the order of time, as a source that is read on and on gives them."""
    start, random, done = np.datetime64("2026-01-06T00:00:00", "us"), np.random.default_rng(1), 0
    step = SECONDS * 1_000_000 // (rows // series + 1)
    while done < rows:
        place = np.arange(done, min(done + PIECE_ROWS, rows))
        ts = start + ((place // series + 1) * step).astype("timedelta64[us]")
        yield Piece(place % series, ts, random.normal(50, 10, len(place)).round(2))
        done += len(place)


def announced(given: Iterator[Piece]) -> Iterator[Piece]:
    """Say the number of each piece when it is asked for."""
    for number, piece in enumerate(given):
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        yield piece


def megabytes(line: str) -> float:
    """Return a figure of this process's status."""
    found = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(line))
    return int(found.split()[1]) / 1024


def stream(conninfo: SecretStr, tenant: str, rows: int, series: int) -> dict[str, float]:
    """Load a little of another host, to have all libraries in memory, and then as much as was asked for."""
    with Store(conninfo, application_name="stream") as store:
        warm = [SeriesKey("host-warm", "stream", f"metric_{place}") for place in range(series)]
        store.samples.write_pieces(tenant, "warm", DAY, series=warm, pieces=pieces(series, series), run_id="stream")
        keys = [SeriesKey("host-stream", "stream", f"metric_{place}") for place in range(series)]
        before, began = megabytes("VmRSS"), time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        given = announced(pieces(series, rows))
        done = store.samples.write_pieces(tenant, "stream", DAY, series=keys, pieces=given, run_id="stream")
    return {
        "rows": done.rows,
        "seconds": time.perf_counter() - began,
        "baseline_megabytes": before,
        "peak_megabytes": megabytes("VmHWM"),
    }


if __name__ == "__main__":
    told = stream(SecretStr(sys.stdin.read()), sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(told))
