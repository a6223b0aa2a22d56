"""Aggregates: exact hourly and daily figures of every series, made again for the whole day."""

import dagster as dg

from assets.shown import Metadata, span
from assets.work import TenantDay


def hourly_metrics(day: TenantDay) -> Metadata:
    """Roll the day's samples up to hours."""
    result = day.tools.store.rollups.hourly(day.tenant.id, day.window, day.tools.run_id, _binned(day))
    return _shown(day, result.rows, result.series, result.raw_rows)


def daily_metrics(day: TenantDay) -> Metadata:
    """Roll the day's hours up to the day."""
    result = day.tools.store.rollups.daily(day.tenant.id, day.window, day.tools.run_id, _binned(day))
    return _shown(day, result.rows, result.series, result.raw_rows)


def _binned(day: TenantDay) -> tuple[str, ...]:
    return day.tools.deployment.settings.aggregates.quantile_metrics


def _shown(day: TenantDay, rows: int, series: int, raw_rows: int) -> Metadata:
    return {
        "dagster/row_count": dg.MetadataValue.int(rows),
        "window": span(day.elapsed),
        "series": dg.MetadataValue.int(series),
        "source_rows": dg.MetadataValue.int(raw_rows),
    }
