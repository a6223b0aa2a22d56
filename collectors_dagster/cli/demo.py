"""``collectors demo``: a synthetic history with planted incidents, for a tenant that is marked as synthetic."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.records import Window

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.models.synthetic import SyntheticHistory
    from collectors_dagster.monitoring.truth import Finding

DATASET = "demo"
SEEDED = "demo_seeded"
"""Booked when everything is written: without it, seeding begins again."""
RUN_ID = "collectors-demo-seed"
_EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))

app = typer.Typer(no_args_is_help=True, help="A synthetic tenant with planted incidents.")


@dataclass(frozen=True, slots=True)
class Seeding:
    """What lies in the store now.

    Attributes
    ----------
    rows : int
        Samples written by this call; 0 if the history was there already.
    """

    tenant: str
    start: str
    end: str
    rows: int
    already_seeded: bool
    planted: list[str]


@app.command()
def seed(
    tenant: Annotated[str, typer.Option(help="A tenant whose file says `synthetic: true`.")] = "showcase",
    days: Annotated[int, typer.Option(min=8, max=60, help="Whole days before today.")] = 14,
    number: Annotated[int, typer.Option("--seed", help="Another number, another history.")] = 2026,
    force: Annotated[bool, typer.Option("--force", help="Write it again, up to now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write an invented history of two hosts, and the truth about its incidents. A second time changes nothing."""
    done = _seed(load_settings(), tenant, days, number, force=force)
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
    elif done.already_seeded:
        typer.echo(f"{tenant}: seeded already, {done.start} to {done.end}; --force writes it again")
    else:
        typer.echo(f"{tenant}: {done.rows} synthetic samples, {done.start} to {done.end}; planted incidents:")
        typer.echo("\n".join(f"  {line}" for line in done.planted))


@app.command()
def compare(
    tenant: Annotated[str, typer.Option(help="A seeded tenant.")] = "showcase",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Set the incidents that the pipeline detected against those that were planted."""
    rows, unexplained = _compared(load_settings(), tenant)
    if as_json:
        typer.echo(json.dumps({"planted": rows, "unexplained": unexplained}, indent=2))
        return
    for row in rows:
        found = f"found after {row['minutes_after_start']:.0f} min: {row['title']}" if row["found"] else "not found"
        typer.echo(f"{row['started_at']} {row['host']} {row['kind']}: {found}")
    typer.echo(f"{sum(bool(row['found']) for row in rows)} of {len(rows)} found; {len(unexplained)} other incidents")
    for line in unexplained:
        typer.echo(f"  {line}")


def _compared(settings: Settings, tenant_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.monitoring.truth import compare as set_against

    with Store(settings.database_conninfo("collectors"), application_name="collectors-demo") as store:
        booked = store.ledger.entries(tenant_id, SEEDED, _EVER)
        if not booked:
            raise ConfigurationError(
                f"tenant {tenant_id} was not seeded; run `collectors demo seed --tenant {tenant_id}`"
            )
        span = Window(booked[0].window.start, booked[-1].window.end)
        result = set_against(store.planted.read(tenant_id, span), store.incidents.list(tenant_id, span, "batch"))
    return [_row(finding) for finding in result.findings], [
        f"{one.opened_at:%Y-%m-%d %H:%M} UTC {one.host}: {one.title}" for one in result.unexplained
    ]


def _row(finding: "Finding") -> dict[str, Any]:
    delay = finding.delay
    return {
        "host": finding.planted.host,
        "kind": finding.planted.kind,
        "started_at": f"{finding.planted.started_at:%Y-%m-%d %H:%M} UTC",
        "found": delay is not None,
        "named": finding.named,
        "minutes_after_start": None if delay is None else delay.total_seconds() / 60,
        "title": finding.incidents[0].title if finding.incidents else None,
    }


def _seed(settings: Settings, tenant_id: str, days: int, number: int, *, force: bool) -> Seeding:
    from collectors_dagster.config.tenants import load_tenants
    from collectors_dagster.integrations.timescale import Store

    directory = load_tenants(settings)
    if not directory.find(tenant_id).synthetic:
        message = (
            f"tenant {tenant_id} is not synthetic: invented samples are only written where they are marked as such"
        )
        raise ConfigurationError(f"{message}; choose a tenant whose file says `synthetic: true`")
    with Store(settings.database_conninfo("collectors"), application_name="collectors-demo") as store:
        store.tenants.sync(directory.tenants)
        now = SystemClock().now()
        booked = store.ledger.entries(tenant_id, SEEDED, _EVER)
        if booked and not force:
            return _report(store, tenant_id, booked[-1].window, rows=0, already_seeded=True)
        return _write(store, tenant_id, now, days, number)


def _write(store: "Store", tenant_id: str, end: datetime, days: int, number: int) -> Seeding:
    from collectors_dagster.models.synthetic import synthetic_history

    history = synthetic_history(end, days=days, seed=number)
    rows = sum(_write_day(store, tenant_id, history, day) for day in _days(history.window))
    store.planted.write(tenant_id, history.window, history.planted)
    detail = {"seed": number, "days": days}
    store.ledger.record(tenant_id, SEEDED, history.window, RUN_ID, rows=rows, detail=detail)
    return _report(store, tenant_id, history.window, rows=rows, already_seeded=False)


def _write_day(store: "Store", tenant_id: str, history: "SyntheticHistory", day: Window) -> int:
    import numpy as np

    start, end = (np.datetime64(edge.replace(tzinfo=None), "s") for edge in (day.start, day.end))
    inside = (history.ts > start) & (history.ts <= end)
    minutes, columns = int(inside.sum()), len(history.series)
    loaded = store.samples.write_window(
        tenant_id,
        DATASET,
        day,
        series=history.series,
        index=np.tile(np.arange(columns), minutes),
        ts=np.repeat(history.ts[inside], columns),
        values=history.values[inside].ravel(),
        run_id=RUN_ID,
    )
    return loaded.rows


def _days(window: Window) -> Iterator[Window]:
    start = window.start
    while start < window.end:
        yield Window(start, min(start + timedelta(days=1), window.end))
        start += timedelta(days=1)


def _report(store: "Store", tenant_id: str, window: Window, *, rows: int, already_seeded: bool) -> Seeding:
    planted = [
        f"{one.started_at:%Y-%m-%d %H:%M} to {one.ended_at:%Y-%m-%d %H:%M} UTC {one.host}: {one.kind}"
        for one in store.planted.read(tenant_id, window)
    ]
    start, end = (f"{edge:%Y-%m-%d %H:%M} UTC" for edge in (window.start, window.end))
    return Seeding(tenant_id, start, end, rows, already_seeded, planted)
