"""`collectors redis`: the place of shared state.

Exit codes: 0 all is well, 1 something is not (a line each, with the remedy), 2 the command line itself is wrong.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Hold the commands together: with one alone, typer would take it for the group."""


@app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """Write through every server of shared state, and say what is wrong where it fails."""
    from collectors_dagster.clock import SystemClock
    from collectors_dagster.config import load_settings
    from collectors_dagster.integrations.redis.check import examine
    from collectors_dagster.integrations.redis.factory import bare_store

    settings = load_settings()
    with bare_store(settings) as store:
        findings = examine(store, SystemClock())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            what = one.problem or f"shared, {one.milliseconds:.1f} ms"
            typer.echo(f"{one.node or settings.redis_place}: {what}" + (f"\n  -> {one.remedy}" if one.remedy else ""))
    raise typer.Exit(any(finding.problem for finding in findings))
