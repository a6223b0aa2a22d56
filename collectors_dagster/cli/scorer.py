"""``collectors scorer``: scores every new minute of all hosts and keeps the incidents."""

import json
from typing import Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings

app = typer.Typer(no_args_is_help=True, help="The stream scorer.")


@app.command()
def run() -> None:
    """Score until SIGTERM; several scorers on the same database divide the tenants."""
    from collectors_dagster.monitoring.logging import configure_logging
    from collectors_dagster.scorer.process import run_scorer

    settings = load_settings()
    configure_logging("scorer", settings)
    run_scorer(settings, SystemClock())


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole status as JSON.")] = False,
) -> None:
    """Say how the scorer of this home is doing."""
    from collectors_dagster.scorer.status import read_status, status_path

    found = read_status(status_path(load_settings()))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rounds = f"{found['ticks']} rounds, last said at {found['updated_at']}"
    typer.echo(f"scorer: {found['state']}, one of {found['scorers']}, {rounds}")
    for tenant_id, tenant in found["tenants"].items():
        incidents = ", ".join(f"{one['host']}: {one['title']}" for one in tenant["open_incidents"]) or "none"
        typer.echo(
            f"{tenant_id}: {tenant['hosts']} hosts, model {tenant['model_version']}, open incidents: {incidents}"
        )
    for name, problem in found["problems"].items():
        typer.echo(f"problem{' of ' + name if name else ''}: {problem}")
