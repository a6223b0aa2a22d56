"""``collectors agent``: the sampler of this host.

Exit codes: 0 running well, 1 not running or refused, 2 the command line itself is wrong.
"""

import json
from typing import Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def run() -> None:
    """Sample this host and deliver to the tenants until SIGTERM."""
    from collectors_dagster.agent.process import run_agent
    from collectors_dagster.monitoring.logging import configure_logging

    settings = load_settings()
    configure_logging("agent", settings)
    run_agent(settings, SystemClock())


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole status as JSON.")] = False,
) -> None:
    """Say how the agent of this home is doing."""
    from collectors_dagster.agent.status import is_alive, read_status, status_lines, status_path

    found = read_status(status_path(load_settings()))
    now = SystemClock().now()
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(status_lines(found, now)))
    if not is_alive(found, now):
        raise typer.Exit(1)


@app.command()
def catalogue(
    as_json: Annotated[bool, typer.Option("--json", help="Print names, units and mappings as JSON.")] = False,
) -> None:
    """List every metric that the collectors know, with its unit and meaning."""
    from collectors_dagster.agent.catalogue import catalogue as entries

    if as_json:
        typer.echo(json.dumps([entry.as_json() for entry in entries()], indent=2))
        return
    for entry in entries():
        metric = entry.metric
        typer.echo(f"{entry.collector:10} {metric.name:42} {metric.kind:8} {metric.unit:17} {metric.help}")
