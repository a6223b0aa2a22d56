"""How fast what is stored is read: aggregates against raw rows, and dashboards against the best SQL by hand.

Two tenants. Each has a month of a few series at one value a minute, and the last six hours of many series at one value
in ten seconds; half of the rows are of either kind. The peers are statements on the platform's own tables, written by
hand for the question and sent as the owner over a connection that is open already, with the server's parallel workers
and without them: the quicker of both counts. Ours pays for its pool and for finding the series.
All are asked in turn, twice each; ratios are those of a turn's second answers, and the median of all turns counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
from pydantic import SecretStr

from bench.report import Goal, Report, main_with_options
from collectors_dagster.clock import SystemClock
from collectors_dagster.frames import SeriesRows
from collectors_dagster.integrations.timescale import Store, migrate
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.reading import Resolution, Selection
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey
from collectors_dagster.strategies.chunks import CompressionRule
from collectors_dagster.tenants import Tenant
from tests.support.postgres import PostgresServer, running_postgres

END = datetime(2026, 1, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)
BUSY = Window(END - 6 * HOUR, END)
LAST_HOUR = Window(END - HOUR, END)
LAST_DAY = Window(END - 24 * HOUR, END)
TENANTS = (Tenant("acme", "Acme"), Tenant("other", "Other"))
HOSTS = 10
ROUNDS = 11

Question = Callable[[], int]
"""Asks, and returns how many rows came."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is stored.

    Attributes
    ----------
    rows : int
        Of all tenants together.
    """

    rows: int
    days: int

    @property
    def month(self) -> Window:
        """The days."""
        return Window(END - timedelta(days=self.days), END)

    @property
    def slow(self) -> list[SeriesKey]:
        """Series of a value a minute, of one metric, each of a host."""
        count = max(1, self.rows // 4 // (self.days * 1440))
        return [SeriesKey(f"host-{n}", "load", "load1", unit="processes") for n in range(count)]

    @property
    def quick(self) -> list[SeriesKey]:
        """Series of a value in ten seconds, of many metrics of ten hosts."""
        count = max(HOSTS, self.rows // 4 // round(BUSY.seconds / 10))
        return [SeriesKey(f"host-{n % HOSTS}", "many", f"metric{n // HOSTS:03d}") for n in range(count)]


def fill(store: Store, size: Size) -> None:
    """Load both tenants, with their aggregates."""
    store.tenants.sync(TENANTS)
    days = [
        Window(size.month.start + timedelta(days=n), size.month.start + timedelta(days=n + 1)) for n in range(size.days)
    ]
    for tenant in TENANTS:
        for day in days:
            load(store, tenant.id, day, size.slow, 60)
        load(store, tenant.id, BUSY, size.quick, 10)
        store.rollups.hourly(tenant.id, size.month, "bench")
        store.rollups.daily(tenant.id, size.month, "bench")


def load(store: Store, tenant_id: str, window: Window, series: Sequence[SeriesKey], step: int) -> None:
    """Write a window of series that wander."""
    n = round(window.seconds / step)
    ends = np.datetime64(window.start.replace(tzinfo=None), "s") + step * np.arange(1, n + 1)
    wandering = (
        np.random.default_rng(hash((tenant_id, window.start)) % 2**32).normal(size=(len(series), n)).cumsum(axis=1)
    )
    store.samples.write_window(
        tenant_id,
        series[0].collector,
        window,
        series=series,
        index=np.repeat(np.arange(len(series)), n),
        ts=np.tile(ends, len(series)),
        values=np.round(50 + wandering, 2).ravel(),
        run_id="bench",
    )


# Questions


CHOSEN = "select series_id from core.series where tenant_key = 1"
ONE_METRIC = f"{CHOSEN} and metric = 'metric001'"
BY_HAND = """
    select series_id, date_bin('{width}', ts, '2000-01-01Z') as bucket, avg(value), min(value), max(value), count(*)
    from core.sample
    where tenant_key = 1 and series_id = any (array({chosen})) and ts >= '{start}' and ts < '{end}'
    group by 1, 2
"""
ROLLED_UP = """
    select series_id, bucket, sum / n, min, max, n from core.sample_1h
    where tenant_key = 1 and series_id = any (array({chosen})) and bucket >= '{start}' and bucket < '{end}'
"""
AS_TENANT = """
    select series_id, date_bin('1 minute', "timestamp", '2000-01-01Z') as bucket, avg(metric_value), min(metric_value),
           max(metric_value), count(*)
    from metrics
    where series_id = any (array({chosen})) and "timestamp" >= '{start}' and "timestamp" < '{end}'
    group by 1, 2
"""
HOURLY_AS_TENANT = """
    select series_id, bucket, avg_value, min_value, max_value, sample_count from metrics_hourly
    where series_id = any (array({chosen})) and bucket >= '{start}' and bucket < '{end}'
"""
PARALLEL = {"on": "2", "off": "0"}


def said(statement: str, window: Window, chosen: str, width: str = "1 minute") -> bytes:
    """Return a statement for a window and for series."""
    times = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    return statement.format(**times, chosen=chosen, width=width).encode()


def by_sql(connection: psycopg.Connection, statement: bytes) -> Question:
    """Return a question that is asked in SQL."""

    def ask() -> int:
        with connection.cursor(binary=True) as cursor:
            return len(cursor.execute(statement).fetchall())

    return ask


def by_reader(store: Store, selection: Selection) -> Question:
    """Return a question that is asked as assets and models ask it."""
    return lambda: sum(len(one.ts) for one in store.reader.read(selection))


@contextmanager
def connected(url: SecretStr, workers: str = "0") -> Iterator[psycopg.Connection]:
    """Yield a connection with so many parallel workers for a statement."""
    options = f"-c max_parallel_workers_per_gather={workers} -c jit=off -c work_mem=16MB -c timezone=UTC"
    with psycopg.connect(url.get_secret_value(), autocommit=True, options=options) as connection:
        yield connection


@contextmanager
def tenants_login(store: Store, url: SecretStr) -> Iterator[psycopg.Connection]:
    """Yield a connection of a login of the first tenant."""
    login = store.sql_roles.grant(TENANTS[0].id)
    assert login.password is not None
    address = url.get_secret_value().rpartition("@")[2]
    with connected(
        SecretStr(f"postgresql://{login.role}:{quote(login.password.get_secret_value())}@{address}"), "2"
    ) as made:
        yield made


def seconds(question: Question) -> tuple[float, int]:
    """Return how long an answer took, and its rows."""
    began = time.perf_counter()
    rows = question()
    return time.perf_counter() - began, rows


def measured(questions: Mapping[str, Question]) -> dict[str, list[float]]:
    """Ask all in turn, each twice: the second answer counts, so that nobody profits from who asked before."""
    found: dict[str, list[float]] = {name: [] for name in questions}
    rows: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, question in questions.items():
            seconds(question)
            taken, came = seconds(question)
            assert came, name
            assert rows.setdefault(name.partition(":")[0], came) == came, f"{name}: {came} rows, others {rows}"
            found[name].append(taken)
    return found


def ratio(found: Mapping[str, list[float]], ours: str, *peers: str) -> float:
    """Return how long ours takes in units of the quickest peer of each turn, in the middle of all turns."""
    quickest = [min(turn) for turn in zip(*(found[peer] for peer in peers), strict=True)]
    return float(statistics.median(mine / theirs for mine, theirs in zip(found[ours], quickest, strict=True)))


def ask(store: Store, url: SecretStr, size: Size) -> dict[str, list[float]]:
    """Ask all questions. Those of one name before the colon have the same answer."""
    tenant = TENANTS[0].id
    whole = Selection(tenant, LAST_HOUR, Resolution.MINUTE)
    month = Selection(tenant, size.month, Resolution.HOUR, ["load1"])
    slow = f"{CHOSEN} and metric = 'load1'"
    with (
        connected(url, PARALLEL["off"]) as alone,
        connected(url, PARALLEL["on"]) as parallel,
        tenants_login(store, url) as login,
    ):
        own = ("select series_id from series", "select series_id from series where metric_name = 'metric001'")
        return measured(
            {
                "month:reader": by_reader(store, month),
                "month:raw": by_sql(alone, said(BY_HAND, size.month, slow, "1 hour")),
                "month:raw, parallel": by_sql(parallel, said(BY_HAND, size.month, slow, "1 hour")),
                "month:by hand": by_sql(alone, said(ROLLED_UP, size.month, slow)),
                "month:as tenant": by_sql(
                    login, said(HOURLY_AS_TENANT, size.month, f"{own[0]} where metric_name = 'load1'")
                ),
                "all:reader": by_reader(store, whole),
                "all:by hand": by_sql(alone, said(BY_HAND, LAST_HOUR, CHOSEN)),
                "all:by hand, parallel": by_sql(parallel, said(BY_HAND, LAST_HOUR, CHOSEN)),
                "all:as tenant": by_sql(login, said(AS_TENANT, LAST_HOUR, own[0])),
                "day:reader": by_reader(store, replace(month, window=LAST_DAY)),
                "day:by hand": by_sql(alone, said(ROLLED_UP, LAST_DAY, slow)),
                "day:as tenant": by_sql(
                    login, said(HOURLY_AS_TENANT, LAST_DAY, f"{own[0]} where metric_name = 'load1'")
                ),
                "metric:reader": by_reader(store, replace(whole, metrics=["metric001"])),
                "metric:by hand": by_sql(alone, said(BY_HAND, LAST_HOUR, ONE_METRIC)),
                "metric:by hand, parallel": by_sql(parallel, said(BY_HAND, LAST_HOUR, ONE_METRIC)),
                "metric:as tenant": by_sql(login, said(AS_TENANT, LAST_HOUR, own[1])),
            }
        )


# Exactness


def differences(store: Store, size: Size) -> tuple[int, float]:
    """Return how many hours differ from their samples in n, min or max, and the largest relative error of a sum.

    Hours and samples are compared as they are read, so that nothing that adds up in the server is compared with itself.
    """
    month = Selection(TENANTS[0].id, size.month, Resolution.HOUR)
    hours = {one.series: one for one in store.reader.read(month)}
    samples = {one.series: one for one in store.reader.read(replace(month, resolution=Resolution.RAW))}
    assert hours.keys() == samples.keys()
    compared = [compare(hours[series], samples[series]) for series in hours]
    return sum(wrong for wrong, _ in compared), max(worst for _, worst in compared)


def compare(hours: SeriesRows, samples: SeriesRows) -> tuple[int, float]:
    """Add up a series' samples exactly (numpy's long double) and compare."""
    starts, firsts = np.unique(samples.ts.astype("datetime64[h]"), return_index=True)
    values = samples.numbers["value"].astype(np.float64)
    counts = np.diff([*firsts, len(values)])
    assert (hours.ts.astype("datetime64[h]") == starts).all()
    wrong = (
        (hours.numbers["count"] != counts)
        | (hours.numbers["min"] != np.minimum.reduceat(values, firsts))
        | (hours.numbers["max"] != np.maximum.reduceat(values, firsts))
    )
    sums = np.add.reduceat(values.astype(np.longdouble), firsts)
    stored = hours.numbers["avg"].astype(np.longdouble) * counts
    return int(wrong.sum()), float((np.abs(stored - sums) / np.abs(sums)).max())


# The report


def measure(options: argparse.Namespace) -> Report:
    """Fill a database and ask."""
    size, edition = Size(options.rows, options.days), Edition(options.edition)
    with running_postgres(edition, options.pg_config) as server:
        server.create_database("bench")
        url = server.conninfo("bench")
        migrate(url, clock=SystemClock())
        with Store(url, application_name="bench") as store:
            fill(store, size)
            server.execute("vacuum analyze", database="bench")
            wrong, worst = differences(store, size)
            found = ask(store, url, size)
            compressed = after_compression(store, server, url, size)
    medians = {name: round(statistics.median(times) * 1e3, 2) for name, times in found.items()}
    detail: dict[str, Any] = {
        "edition": edition.value,
        "rows": 2 * (len(size.slow) * size.days * 1440 + len(size.quick) * round(BUSY.seconds / 10)),
        "series": 2 * (len(size.slow) + len(size.quick)),
        "milliseconds": medians,
        "hours_from_aggregates_in_units_of_by_hand": {
            name: round(ratio(found, name, f"{name.partition(':')[0]}:by hand"), 2)
            for name in ("month:reader", "month:as tenant", "day:reader", "day:as tenant")
        },
        "compressed": compressed,
    }
    return Report("query", goals(found, wrong, worst), detail)


def goals(found: Mapping[str, list[float]], wrong: int, worst: float) -> tuple[Goal, ...]:
    """Return what was promised."""
    quicker = 1 / ratio(found, "month:reader", "month:raw", "month:raw, parallel")
    return (
        Goal("30 days by hour: aggregates, times as fast as raw rows", quicker, 5, "higher"),
        Goal(
            "last hour of a tenant, in units of SQL by hand",
            ratio(found, "all:reader", "all:by hand", "all:by hand, parallel"),
            2,
        ),
        Goal(
            "last hour of a metric, in units of SQL by hand",
            ratio(found, "metric:reader", "metric:by hand", "metric:by hand, parallel"),
            2,
        ),
        Goal(
            "last hour of a tenant by its own SQL login, in units of SQL by hand",
            ratio(found, "all:as tenant", "all:by hand", "all:by hand, parallel"),
            2,
        ),
        Goal(
            "last hour of a metric by its own SQL login, in units of SQL by hand",
            ratio(found, "metric:as tenant", "metric:by hand", "metric:by hand, parallel"),
            2,
        ),
        Goal("hours that differ from their samples in n, min or max", wrong, 0),
        Goal("largest relative error of an hour's sum, in 1e-12", worst * 1e12, 1),
    )


def after_compression(store: Store, server: PostgresServer, url: SecretStr, size: Size) -> dict[str, float] | None:
    """Return the same milliseconds when all but the last day is compressed, where that is possible."""
    if server.edition is not Edition.FULL:
        return None
    store.compression.apply(CompressionRule(HOUR, timedelta(0), HOUR), END - 12 * HOUR)
    server.execute("vacuum analyze", database="bench")
    return {name: round(statistics.median(times) * 1e3, 2) for name, times in ask(store, url, size).items()}


def describe(parser: argparse.ArgumentParser) -> None:
    """Add our options."""
    parser.add_argument("--rows", type=int, default=4_000_000, help="samples of both tenants together")
    parser.add_argument("--days", type=int, default=30, help="how far back half of them go")
    parser.add_argument("--edition", choices=[one.value for one in Edition], default=Edition.PLAIN.value)
    parser.add_argument("--pg-config", help="of the PostgreSQL to measure; else the wheel's, or as the tests find it")


if __name__ == "__main__":
    main_with_options(measure, __doc__, describe)
