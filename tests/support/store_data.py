"""Small, fixed inputs for the store's tests, and a checksum of everything it holds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.frames import FeatureFrame, Floats, Times
from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryNote
from collectors_dagster.records import (
    Claim,
    Contribution,
    ForecastPoint,
    HealthReason,
    HealthReport,
    Incident,
    ModelState,
    PlantedIncident,
    Recommendation,
    ScoredMinute,
    Severity,
    Statistic,
    Window,
)
from collectors_dagster.samples import Kind, Sample, SeriesKey
from collectors_dagster.tenants import Tenant

DAY = Window.of_day("2026-01-05")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora")
BOREALIS = Tenant("borealis", "Borealis")
VOLATILE = ("loaded_at", "acked_at", "created_at", "seen_at", "applied_at", "noted_at")

LOAD1 = SeriesKey("host-1", "load", "load1", unit="processes")
READS = SeriesKey(
    "host-1", "disk", "disk_reads_per_second", (("device", "vda"),), "operations_per_second", Kind.COUNTER
)


def after(seconds: float, start: datetime = NOON) -> datetime:
    """Return an instant some seconds after noon."""
    return start + timedelta(seconds=seconds)


def batch(
    first: int, last: int, tenant_id: str = "aurora", series: SeriesKey = LOAD1, step: float = 10.0
) -> DeliveryBatch:
    """Return the batch of intervals `first` to `last`: one sample each, the value is the number."""
    samples = [Sample(series, after(step * n), float(n)) for n in range(first, last + 1)]
    notes = [DeliveryNote(series.host, series.collector, NOON, last - first + 1, 0.5, 100)]
    return DeliveryBatch("agent-1", "epoch-1", tenant_id, first, last, samples, notes)


def day_of_samples(window: Window = DAY, series: int = 2, step: int = 600, seed: int = 7) -> dict[str, object]:
    """Return the arguments of ``write_window`` for some series over a window."""
    ts, n = axis(window, step), int(window.seconds) // step
    return {
        "series": [SeriesKey("host-1", "load", f"metric{i}", (("core", str(i)),)) for i in range(series)],
        "index": np.repeat(np.arange(series), n),
        "ts": np.tile(ts, series),
        "values": np.random.default_rng(seed).normal(50, 20, n * series),
        "run_id": "run-1",
    }


def axis(window: Window, step: int) -> Times:
    """Return the ends of a window's intervals."""
    start = np.datetime64(window.start.replace(tzinfo=None), "s")
    return start + np.arange(1, int(window.seconds) // step + 1) * np.timedelta64(step, "s")


def feature_frame(version: str = "v1", window: Window = DAY, host: str = "host-1") -> FeatureFrame:
    """Return an hourly frame of two columns with a hole."""
    ts = axis(window, 3600)
    values: Floats = np.arange(2.0 * len(ts)).reshape(-1, 2)
    values[3, 1] = np.nan
    return FeatureFrame(host, version, ts, ("a__level", "a__rate"), values)


def scored_minute(minutes: int = 1, score: float = 0.95, host: str = "host-1") -> ScoredMinute:
    """Return a remarkable minute; an expectation without an upper bound is part of it."""
    contributions = (Contribution("load_per_cpu", 4.0, 0.1, float("inf"), 6.0),)
    return ScoredMinute(host, after(60 * minutes), score, ModelState.READY, "3", contributions)


def incident(tenant_id: str = "aurora", host: str = "host-1", source: str = "stream", minutes: int = 1) -> Incident:
    """Return an incident that is open."""
    at = after(60 * minutes)
    contributions = scored_minute().contributions
    return Incident(
        None, tenant_id, host, at, at, None, Severity.WARNING, 0.95, "load is high", contributions, "3", source
    )


def forecast_point(minutes: int = 30, issued: int = 0, mean: float = 0.5) -> ForecastPoint:
    """Return a point of the processors' forecast."""
    return ForecastPoint("host-1", "cpu_utilization_ratio", after(60 * issued), after(60 * minutes), mean, 0, 1, 0, 1)


def health_report(minutes: int = 1, score: int | None = 80) -> HealthReport:
    """Return a report with a reason and a recommendation."""
    reasons = (HealthReason("load", 0.2, "the load is twice the processors"),)
    claim = Claim("load_per_cpu", Statistic.MAX, 2.0, float("inf"), NOON, after(86_400))
    recommendations = (
        Recommendation("scale", "add a processor", "load 8 on 4", 0.7, saving_per_month=12.5, currency="EUR"),
        Recommendation("peak", "load comes", "seen daily", 0.8, claim=claim, outcome=True),
    )
    return HealthReport("host-1", after(60 * minutes), score, reasons, recommendations)


def planted_incident() -> PlantedIncident:
    """Return a planted hour."""
    return PlantedIncident("host-1", NOON, after(3600), "cpu_hog", ("cpu_utilization_ratio", "load_per_cpu"))


def checksum(database: SecretStr) -> dict[str, str]:
    """Return a checksum per table of all rows, without the columns that say when something was written."""
    with psycopg.connect(database.get_secret_value()) as connection:
        tables = connection.execute(
            "select c.relname, array_agg(a.attname::text order by a.attnum) from pg_class c "
            "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and a.attname <> all (%s) "
            "where c.relnamespace = 'core'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition "
            "group by 1 order by 1",
            [list(VOLATILE)],
        ).fetchall()
        return {table: _checksum(connection, table, columns) for table, columns in tables}


def _checksum(connection: psycopg.Connection, table: str, columns: list[str]) -> str:
    row = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL(
        "select count(*) || ':' || md5(coalesce(string_agg(r::text, E'\\n' order by r::text), '')) "
        "from (select {row} from core.{table}) r"
    ).format(row=row, table=sql.Identifier(table))
    found = connection.execute(statement).fetchone()
    assert found is not None
    return str(found[0])


def expected_minutes(ts: Times, values: Floats, ends: Times) -> dict[str, Floats]:
    """Return the numbers of each minute that ends at one of these instants, computed the slow way."""
    inside: list[NDArray[np.bool_]] = [(ts > end - np.timedelta64(60, "s")) & (ts <= end) for end in ends]
    reduced: dict[str, Callable[[Floats], float]] = {"avg": np.mean, "min": np.min, "max": np.max, "count": len}
    return {name: np.array([reduce(values[mask]) for mask in inside]) for name, reduce in reduced.items()}
