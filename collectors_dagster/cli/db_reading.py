"""`collectors db query|queries|export`: what is stored of a tenant, with that tenant's own rights or as a file."""

import csv
import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.records import Window

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.integrations.timescale.saved_queries import Result, SavedQuery

TenantOption = Annotated[str, typer.Option("--tenant", help="Whose.")]
From = Annotated[str, typer.Option("--from", help="Start: an ISO time (UTC), or -15m, -2h, -1d ago.")]
To = Annotated[str, typer.Option("--to", help="End, not included; likewise.")]


def queries(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """List the saved queries: those that come with the program, and the files in `queries` beside the settings."""
    found = _queries(load_settings())
    if as_json:
        typer.echo(json.dumps([{"name": one.name, "purpose": one.purpose} for one in found.values()], indent=2))
        return
    for one in found.values():
        typer.echo(f"{one.name:16} {one.purpose}")


def query(
    name: Annotated[str, typer.Argument(help="One of `collectors db queries`.")],
    *,
    tenant: TenantOption,
    start: From = "-1d",
    end: To = "now",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row, a line each.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
) -> None:
    """Run a saved query with a tenant's rights: through a login that sees this tenant only, made for it and dropped."""
    from collectors_dagster.integrations.timescale.saved_queries import run_query

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    settings, window = load_settings(), _window(start, end)
    found = _query(settings, name)
    printed = _print_json if as_json else _print_csv if as_csv else _print_table
    with (
        _store(settings) as store,
        store.sql_roles.reader(tenant) as conninfo,
        run_query(conninfo, found, window) as result,
    ):
        printed(result)


def export(
    *,
    tenant: TenantOption,
    start: From,
    end: To = "now",
    resolution: Annotated[str, typer.Option(help="raw, 1m, 1h or 1d.")] = "raw",
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; repeat for more.")] = None,
    host: Annotated[list[str] | None, typer.Option(help="Only this host; repeat for more.")] = None,
    quantiles: Annotated[
        bool, typer.Option("--quantiles", help="p50, p95 and p99 of hours or days, of the metrics chosen for it.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file to write.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file if there is one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Write a tenant's series to a Parquet file, in bounded memory; coarse windows begin and end with whole buckets."""
    from collectors_dagster.integrations.timescale.parquet import write_parquet
    from collectors_dagster.integrations.timescale.reading import Resolution, Selection

    if resolution not in list(Resolution):
        raise typer.BadParameter("--resolution is one of raw, 1m, 1h, 1d")
    level = Resolution(resolution)
    window = _whole(_window(start, end), level.width)
    selection = Selection(tenant, window, level, metric or None, host or None, quantiles=quantiles)
    with _store(load_settings()) as store, store.reader.open(selection) as reading:
        rows = write_parquet(reading, selection, output, replace=replace)
        series = len(reading.series)
    done = {"file": str(output), "rows": rows, "series": series, "bytes": output.stat().st_size}
    done |= {"from": window.start.isoformat(), "to": window.end.isoformat(), "resolution": resolution}
    if as_json:
        typer.echo(json.dumps(done, indent=2))
    else:
        typer.echo(f"{rows} rows of {series} series, {done['from']} to {done['to']}: {output} ({done['bytes']} bytes)")


def _queries(settings: Settings) -> "dict[str, SavedQuery]":
    from collectors_dagster.integrations.timescale.saved_queries import find_queries

    return find_queries(settings.config_dir / "queries")


def _query(settings: Settings, name: str) -> "SavedQuery":
    found = _queries(settings)
    if name not in found:
        raise ConfigurationError(f"there is no saved query {name!r}: choose one of {', '.join(found)}")
    return found[name]


def _store(settings: Settings) -> "Store":
    from collectors_dagster.integrations.timescale import Store

    return Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=2)


def _window(start: str, end: str) -> Window:
    from collectors_dagster.agent.replay import instant

    now = SystemClock().now()
    window = Window(instant(start, now), instant(end, now))
    if window.start >= window.end:
        raise ConfigurationError(f"the window {start} to {end} is empty: it must end after it starts")
    return window


def _whole(window: Window, width: timedelta | None) -> Window:
    """Return the window from the bucket that holds its start to the one that holds its end, the last not included."""
    if width is None:
        return window
    origin = datetime(2000, 1, 1, tzinfo=UTC)
    return Window(window.start - (window.start - origin) % width, window.end - (window.end - origin) % width)


def _print_json(result: "Result") -> None:
    for row in result.rows:
        typer.echo(json.dumps(dict(zip(result.columns, map(_plain, row), strict=True)), ensure_ascii=False))


def _print_csv(result: "Result") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_cell(each) for each in row] for row in result.rows)


def _print_table(result: "Result") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*result.columns, box=None, pad_edge=False)
    for row in result.rows:
        table.add_row(*(str(_cell(each)) for each in row))
    Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)


def _plain(value: object) -> object:
    """Return a value as JSON has it; what JSON does not know as text."""
    if value is None or isinstance(value, str | bool | int | float | dict | list):
        return value
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def _cell(value: object) -> object:
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else "" if plain is None else plain
