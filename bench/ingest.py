"""How near to the server's own limit samples are loaded, what a repetition costs, and how small they become.

The floor is the server reading the same bytes from a file of its own into the same table and index. Peers are what one
would write without COPY: pandas and ``executemany``, on a part of the rows, compared by rows per second. All in one run
and interleaved, each time in a database of its own. ``--edition full`` and ``apache`` need a server with TimescaleDB,
found as the tests find it: ``COLLECTORS_TEST_PG_CONFIG_FULL`` and ``COLLECTORS_TEST_PG_CONFIG_APACHE`` name it.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import sqlalchemy
from pydantic import SecretStr

from bench.host_metrics import DAY, PER_SERIES, Data, a_day
from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.integrations.timescale import Store, migrate
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.packing import HEADER, TRAILER, copy_rows, microseconds
from collectors_dagster.integrations.timescale.series import SeriesTable
from collectors_dagster.tenants import Tenant
from tests.support.postgres import ACCOUNT, PostgresServer, running_postgres

TENANT = Tenant("acme", "Acme")
TEMPLATE = "bench_template"
ROUNDS = 3
PANDAS_ROWS, EXECUTEMANY_ROWS = 10_000, 40_000
STREAM_SERIES = 1000
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure."""

    rows: int
    stream_rows: int
    edition: Edition


@dataclass(slots=True)
class Site:
    """A server, the data, and the seconds that everything took, round by round."""

    server: PostgresServer
    data: Data
    keys: np.typing.NDArray[np.int64]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Samples of the day."""
        return len(self.data.measured)

    def timed(self, name: str, work: Callable[[], object]) -> None:
        """Do something and note how long it took."""
        began = time.perf_counter()
        work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)

    def median(self, name: str) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.seconds[name])

    @contextmanager
    def database(self) -> Iterator[SecretStr]:
        """Yield a new database with the schema, the tenant, its series and room for the day."""
        self.server.create_database("bench", TEMPLATE)
        try:
            yield self.server.conninfo("bench")
        finally:
            self.server.drop_database("bench")


def executed(conninfo: SecretStr, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement that commits by itself."""
    with psycopg.connect(conninfo.get_secret_value(), autocommit=True) as connection:
        found = connection.execute(statement.encode(), parameters)
        return found.fetchall() if found.description else []


def prepared(server: PostgresServer, data: Data) -> np.typing.NDArray[np.int64]:
    """Make the database that all others are copies of; return the series' keys."""
    server.create_database(TEMPLATE)
    conninfo = server.conninfo(TEMPLATE)
    migrate(conninfo, clock=SystemClock())
    with Store(conninfo, application_name="bench") as store:
        store.tenants.sync([TENANT])
        first = replace(
            data, index=data.index[:PER_SERIES], ts=data.ts[:PER_SERIES], measured=data.measured[:PER_SERIES]
        )
        written(store, first)  # makes the partitions or chunks, which few loads of a day have to
        ids = SeriesTable(store._database).ids(store.tenants.key(TENANT.id), data.series)  # noqa: SLF001 - as COPY has them
    executed(conninfo, "truncate core.load")
    executed(conninfo, "delete from core.sample")
    return np.array(ids, dtype=np.int64)


def written(store: Store, data: Data) -> int:
    """Load the day as a partition's run does."""
    done = store.samples.write_window(
        TENANT.id, "bench", DAY, series=data.series, index=data.index, ts=data.ts, values=data.measured, run_id="bench"
    )
    return done.rows


def rolled_up(store: Store) -> None:
    store.rollups.hourly(TENANT.id, DAY, "bench")


def run_whole(store: Store, data: Data) -> None:
    written(store, data)
    rolled_up(store)


def rows_of(site: Site) -> bytes:
    """Return the rows in the order of the index, as ours are sent."""
    columns: list[Any] = [
        (">i4", 1),
        (">i4", site.keys[site.data.index]),
        (">i8", microseconds(site.data.ts)),
        (">f8", site.data.measured),
    ]
    return HEADER + copy_rows(columns, site.rows) + TRAILER


@contextmanager
def opened(conninfo: SecretStr) -> Iterator[Store]:
    """Yield a store that is connected, as the floor is."""
    with Store(conninfo, application_name="bench") as store:
        store.edition()
        yield store


def measure_floor(site: Site, file: Path) -> None:
    with site.database() as conninfo:
        superuser = site.server.conninfo("bench", "postgres")
        statement = f"copy core.sample (tenant_key, series_id, ts, value) from '{file}' (format binary)"
        with psycopg.connect(superuser.get_secret_value(), autocommit=True) as connection:
            site.timed("server", lambda: connection.execute(statement.encode()))
        assert executed(conninfo, "select count(*) from core.sample") == [(site.rows,)]


def corrected(data: Data, share: float) -> Data:
    """Return the day with some of its values corrected, all over it."""
    chosen = np.random.default_rng(5).random(len(data.measured)) < share
    return replace(data, measured=np.where(chosen, data.measured + 1, data.measured))


def measure_ours(site: Site) -> None:
    """Load once, again the same, again with one value in a hundred corrected, and with all of them."""
    with site.database() as conninfo, opened(conninfo) as store:
        site.timed("copy", lambda: written(store, site.data))
        site.timed("rollup", lambda: rolled_up(store))
        site.timed("same", lambda: run_whole(store, site.data))
        site.timed("corrected", lambda: run_whole(store, corrected(site.data, 0.01)))
        site.timed("all corrected", lambda: run_whole(store, corrected(site.data, 1.0)))
        assert executed(conninfo, "select count(*) from core.sample") == [(site.rows,)]
    site.seconds.setdefault("whole", []).append(site.seconds["copy"][-1] + site.seconds["rollup"][-1])


def measure_peers(site: Site) -> None:
    """Write a part of the rows as one would without COPY, each into an empty table of the same shape."""
    ids = site.keys[site.data.index]
    frame = pd.DataFrame(
        {"tenant_key": 1, "series_id": ids, "ts": pd.to_datetime(site.data.ts, utc=True), "value": site.data.measured}
    )
    with site.database() as conninfo:
        engine = sqlalchemy.create_engine(conninfo.get_secret_value().replace("postgresql://", "postgresql+psycopg://"))
        part = frame.sample(min(PANDAS_ROWS, site.rows), random_state=1)
        to_sql = partial(
            part.to_sql, "sample", engine, schema="core", if_exists="append", index=False, chunksize=10_000
        )
        site.timed("to_sql", lambda: to_sql(method="multi"))
        engine.dispose()
    with site.database() as conninfo, psycopg.connect(conninfo.get_secret_value()) as connection:
        rows = list(frame.sample(min(EXECUTEMANY_ROWS, site.rows), random_state=1).itertuples(index=False, name=None))
        statement = b"insert into core.sample (tenant_key, series_id, ts, value) values (%s, %s, %s, %s)"
        with connection.cursor() as cursor, connection.transaction():
            site.timed("executemany", lambda: cursor.executemany(statement, rows))


def measure_compression(site: Site) -> dict[str, float]:
    """Compress the day, and load it again the same and corrected."""
    with site.database() as conninfo, opened(conninfo) as store:
        site.timed("before compression", lambda: run_whole(store, site.data))
        size = "select sum(total_bytes)::float8 from chunks_detailed_size('core.sample')"
        heap = executed(conninfo, size)[0][0]
        site.timed("compress", lambda: executed(conninfo, "select compress_chunk(c) from show_chunks('core.sample') c"))
        small = executed(conninfo, size)[0][0]
        site.timed("same, compressed", lambda: run_whole(store, site.data))
        site.timed("corrected, compressed", lambda: run_whole(store, corrected(site.data, 0.01)))
        executed(conninfo, "select compress_chunk(c) from show_chunks('core.sample') c")
        site.timed("all corrected, compressed", lambda: run_whole(store, corrected(site.data, 1.0)))
        assert executed(conninfo, "select count(*) from core.sample") == [(site.rows,)]
    return {"heap_bytes_per_value": heap / site.rows, "bytes_per_value": small / site.rows}


def measure_stream(site: Site, rows: int) -> dict[str, float]:
    with site.database() as conninfo:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.stream_writer", TENANT.id, str(rows), str(STREAM_SERIES)],
            input=conninfo.get_secret_value(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == rows
    return found


def goals_of(site: Site, stream: dict[str, float]) -> list[Goal]:
    """Return the goals of every edition."""
    rate = {
        "ours": site.rows / site.median("copy"),
        "to_sql": min(PANDAS_ROWS, site.rows) / site.median("to_sql"),
        "executemany": min(EXECUTEMANY_ROWS, site.rows) / site.median("executemany"),
    }
    grown = stream["peak_megabytes"] - stream["baseline_megabytes"]
    return [
        Goal("our COPY / the server's own", ratio(site, "server", "copy"), 0.8, "higher"),
        Goal(
            "whole run (delete, copy, ledger, rollup) / the server's own COPY",
            ratio(site, "server", "whole"),
            0.6,
            "higher",
        ),
        Goal("times pandas.to_sql(multi)", rate["ours"] / rate["to_sql"], 50, "higher"),
        Goal("times executemany", rate["ours"] / rate["executemany"], 10, "higher"),
        Goal("the same window again / the first time", ratio(site, "same", "whole"), 2),
        Goal(
            "the window again, one value in a hundred corrected / the first time", ratio(site, "corrected", "whole"), 2
        ),
        Goal("megabytes that streaming a window takes", grown, 100),
    ]


def goals_of_compression(site: Site, sizes: dict[str, float]) -> list[Goal]:
    first = site.median("before compression")
    return [
        Goal("bytes per value, compressed", sizes["bytes_per_value"], 8),
        Goal(
            "times smaller than heap and index", sizes["heap_bytes_per_value"] / sizes["bytes_per_value"], 10, "higher"
        ),
        Goal("the same window again, compressed / the first time", site.median("same, compressed") / first, 2),
        Goal(
            "one value in a hundred corrected, compressed / the first time",
            site.median("corrected, compressed") / first,
            2,
        ),
    ]


def ratio(site: Site, above: str, below: str) -> float:
    """Return the median over the rounds of two times that were taken one after the other."""
    return statistics.median(a / b for a, b in zip(site.seconds[above], site.seconds[below], strict=True))


def measure(options: Options) -> Report:
    """Interleave the floor, ours and the peers."""
    data = a_day(options.rows)
    with running_postgres(options.edition) as server:
        site = Site(server, data, prepared(server, data))
        file = server.data.parent / "rows"
        file.write_bytes(rows_of(site))
        if ACCOUNT is not None:
            shutil.chown(file, ACCOUNT)
        for _ in range(ROUNDS):
            measure_floor(site, file)
            measure_ours(site)
            measure_peers(site)
        stream = measure_stream(site, options.stream_rows)
        goals, sizes = goals_of(site, stream), {}
        if options.edition is Edition.FULL:
            sizes = measure_compression(site)
            goals += goals_of_compression(site, sizes)
    detail = {
        "edition": options.edition.value,
        "rows": site.rows,
        "median_seconds": {name: round(site.median(name), 3) for name in site.seconds},
        "all_corrected_by_first_time": round(ratio(site, "all corrected", "whole"), 2),
        "floor_rows_per_second": round(site.rows / site.median("server")),
        "stream": {name: round(value, 2) for name, value in stream.items()},
        **{name: round(value, 2) for name, value in sizes.items()},
    }
    return Report("ingest", tuple(goals), detail)


def asked() -> Options:
    """Take this benchmark's own options off the command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=1_000_000, help="samples of the day")
    parser.add_argument("--stream-rows", type=int, default=2_000_000, help="samples of the window that is streamed")
    parser.add_argument("--edition", type=Edition, default=Edition.PLAIN, help="plain, apache or full")
    options, sys.argv[1:] = parser.parse_known_args()
    return Options(options.rows, options.stream_rows, options.edition)


if __name__ == "__main__":
    main(partial(measure, asked()), __doc__)
