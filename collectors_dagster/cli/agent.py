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
def replay(
    *,
    from_: Annotated[str, typer.Option("--from", metavar="T", help="ISO 8601 in UTC, or for example -15m.")],
    to: Annotated[str, typer.Option("--to", metavar="T", help="The same, or now.")] = "now",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's sources.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric, as delivered; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    ship: Annotated[
        bool, typer.Option("--ship", help="Deliver the window's whole minutes to the tenant instead of showing it.")
    ] = False,
) -> None:
    """Show or deliver a window of the flight recorder at full resolution; the agent may run or not."""
    from collectors_dagster.agent import replay as recorder
    from collectors_dagster.records import Window

    if as_json + as_csv + ship > 1:
        raise typer.BadParameter("--json, --csv and --ship exclude each other")
    clock = SystemClock()
    now = clock.now()
    window = Window(recorder.instant(from_, now), recorder.instant(to, now))
    if window.start >= window.end:
        raise typer.BadParameter(f"--from {from_} is not before --to {to}")
    chosen = recorder.Replay(load_settings(), recorder.Wanted(window, tenant, tuple(metric or ())), clock)
    if ship:
        typer.echo(f"{chosen.ship()} values delivered that were not there yet")
        return
    if as_csv:
        typer.echo(recorder.CSV_HEADER)
    line = recorder.json_line if as_json else recorder.csv_line if as_csv else recorder.table_line
    shown = 0
    for sample in chosen.samples():
        typer.echo(line(sample))
        shown += 1
    if not shown:
        typer.echo(f"nothing was recorded from {window.start.isoformat()} to {window.end.isoformat()}", err=True)
        raise typer.Exit(1)


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
