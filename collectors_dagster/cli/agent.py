"""``collectors agent``: the sampler of this host."""

import json
from typing import Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings

app = typer.Typer(no_args_is_help=True, help="The sampler of this host.")


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
    from collectors_dagster.agent.status import age_seconds, read_status, status_path

    found = read_status(status_path(load_settings()))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    age = age_seconds(found, SystemClock().now())
    typer.echo(f"{found['agent_id']}: {found['state']}, said {age:.0f} s ago")
