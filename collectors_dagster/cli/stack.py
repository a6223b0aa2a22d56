"""`collectors up | down | status | logs`: the local stack.

Exit codes: 0 done, 1 it could not be done (one line says why and what helps), 2 wrong usage, 130 interrupted.
`status` returns 1 if a component is unwell. Looking and stopping work with broken settings too: whoever mistypes a
key must not lose hold of what runs.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from collectors_dagster.cli import stack_output as output
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.salvage import Salvage, salvage_settings
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor import control, first_use, tails
from collectors_dagster.supervisor.home import Home
from collectors_dagster.supervisor.status import Report, report

app = typer.Typer(rich_markup_mode=None)

_Only = Annotated[
    str, typer.Option(metavar="NAMES", help="Only these components, e.g. postgres,redis,migrations; no first run.")
]
_Demo = Annotated[bool, typer.Option("--demo/--no-demo", help="Give the tenant showcase a synthetic history.")]
_Pipeline = Annotated[bool, typer.Option("--pipeline/--no-pipeline", help="Run the pipeline once a day.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("up")
def up(only: _Only = "", demo: _Demo = True, pipeline: _Pipeline = True, as_json: _Json = False) -> None:
    """Start what is missing, return when everything is ready; harmless if it is already."""
    settings, clock = load_settings(), SystemClock()
    names = [name.strip() for name in only.split(",") if name.strip()]
    with output.progress(clock, sys.stderr if as_json else sys.stdout) as watch:
        control.bring_up(settings, names, clock, watch)
    try:
        for step in first_use.steps(settings, clock, demo=demo and not names, pipeline=pipeline and not names):
            step.run(sys.stderr if as_json else sys.stdout)
    finally:
        _show(Salvage(settings), as_json=as_json)


@app.command("down")
def down() -> None:
    """Stop exactly what `up` started, and nothing else."""
    stopped = control.take_down(_what_is_left("down").settings, SystemClock())
    output.say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command("status")
def status(as_json: _Json = False) -> None:
    """Show every component: state, address, version, what to look at; exit with 1 if one is unwell."""
    if not _show(_what_is_left("status"), as_json=as_json).is_well:
        raise typer.Exit(1)


@app.command("logs")
def logs(
    component: Annotated[str, typer.Argument(help="Whose log; by default all.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each log to begin with.")] = 20,
) -> None:
    """Show the end of the components' logs."""
    clock = SystemClock()
    chosen = _logs(Home(_what_is_left("logs").settings.home), component)
    _print_lines(tails.last_lines(chosen, lines), named=len(chosen) > 1)
    if follow:
        _print_lines(tails.follow(chosen, clock), named=len(chosen) > 1)


def _what_is_left(command: str) -> Salvage:
    """Return the settings as far as they can be used, and say in one line on standard error what is wrong with them."""
    found = salvage_settings()
    if found.problems:
        first, *others = found.problems
        more = f" (and {len(others)} more)" if others else ""
        output.say(
            f"collectors: {first}{more}; mend it: until then `up` and `run` refuse, and `{command}` goes on without it",
            sys.stderr,
        )
    return found


def _show(settings: Salvage, *, as_json: bool) -> Report:
    found = report(settings.settings, SystemClock(), settings.problems)
    if as_json:
        output.say(json.dumps(found.as_json(), indent=2))
    else:
        output.print_report(found)
    return found


def _logs(home: Home, component: str) -> list[Path]:
    every = sorted(home.logs.glob("*.log"))
    chosen = [log for log in every if component in {"", log.stem}]
    if component and not chosen:
        known = ", ".join(log.stem for log in every) or "none yet"
        raise StartupError(f"there is no log of {component[:40]!r}; there are: {known}")
    return chosen


def _print_lines(lines: Iterable[tails.Line], *, named: bool) -> None:
    for line in lines:
        sys.stdout.write(f"{line.component} | {line.text}\n" if named else f"{line.text}\n")
        sys.stdout.flush()
