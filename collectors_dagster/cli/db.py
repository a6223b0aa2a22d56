"""`collectors db`: the schema of the store, the state of its server, and what is in it.

Exit codes: 0 done, 1 refused or failed (one line with the remedy), 2 the command line itself is wrong.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from collectors_dagster.cli import db_reading, sql_logins
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.integrations.timescale.migrations import MigrationReport
from collectors_dagster.integrations.timescale.migrations import migrate as apply_migrations
from collectors_dagster.integrations.timescale.migrations import status as read_status

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sql_logins.staff, name="staff")
app.command()(db_reading.queries)
app.command()(db_reading.query)
app.command()(db_reading.export)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def migrate(
    *,
    pre_only: Annotated[
        bool, typer.Option("--pre-only", help="Stop before the first migration meant for after the deployment.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema up to date; doing it again, or from two places at once, does no harm."""
    conninfo = load_settings().database_conninfo("collectors")
    report = apply_migrations(conninfo, clock=SystemClock(), include_post=not pre_only)
    done = [f"applied {title}" for title in report.applied] or ["nothing to do"]
    _print(report, done, as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the edition of the database, and which migrations are in it and which are not; changes nothing."""
    report = read_status(load_settings().database_conninfo("collectors"))
    extension = "" if report.timescaledb is None else f", TimescaleDB {report.timescaledb}"
    edition = f"edition {report.edition} (PostgreSQL {report.postgresql.split()[0]}{extension})"
    _print(report, [edition, *(f"applied {title}" for title in report.current)], as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look for what may be wrong with the database, and say the remedy; exit with 1 if something is."""
    from collectors_dagster.integrations.timescale.doctor import State, examine

    settings = load_settings()
    directory = settings.home if settings.postgres_embedded else None
    findings = examine(settings.database_conninfo("collectors"), clock=SystemClock(), directory=directory)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            typer.echo(f"{one.state:<8} {one.check}: {one.found}" + (f"\n{'':8} -> {one.remedy}" if one.remedy else ""))
    raise typer.Exit(any(finding.state is State.FAILURE for finding in findings))


def _print(report: MigrationReport, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
        return
    for line in [*lines, *(f"pending {title}" for title in report.pending)]:
        typer.echo(line)
