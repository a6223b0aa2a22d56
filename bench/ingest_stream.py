"""One window streamed into the store, in a process that does nothing else: started by ``bench.ingest``."""

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
PIECE_ROWS = 250_000


def pieces(series: int, rows: int) -> Iterator[Piece]:
    """Yield rows in the order of time, as a source that is read on and on gives them."""
    start, random, done = np.datetime64("2026-01-06T00:00:00", "us"), np.random.default_rng(1), 0
    step = SECONDS * 1_000_000 // (rows // series + 1)
    while done < rows:
        place = np.arange(done, min(done + PIECE_ROWS, rows))
        ts = start + ((place // series + 1) * step).astype("timedelta64[us]")
        yield Piece(place % series, ts, random.normal(50, 10, len(place)).round(2))
        done += len(place)


def megabytes(line: str) -> float:
    """Return a figure of this process's status."""
    found = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(line))
    return int(found.split()[1]) / 1024


def stream(conninfo: SecretStr, tenant: str, rows: int, series: int) -> dict[str, float]:
    """Load once small, to have all libraries in memory, and then as much as was asked for."""
    keys = [SeriesKey("host-stream", "bench", f"metric_{place}") for place in range(series)]
    with Store(conninfo, application_name="bench-stream") as store:
        for asked in (series, rows):
            before, began = megabytes("VmRSS"), time.perf_counter()
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
            done = store.samples.write_pieces(
                tenant, "stream", DAY, series=keys, pieces=pieces(series, asked), run_id="bench"
            )
    return {
        "rows": done.rows,
        "seconds": time.perf_counter() - began,
        "baseline_megabytes": before,
        "peak_megabytes": megabytes("VmHWM"),
    }


if __name__ == "__main__":
    print(json.dumps(stream(SecretStr(sys.stdin.read()), sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
