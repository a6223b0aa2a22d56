"""What the stack's commands print: a table, and the progress of a start; plain lines without a terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from collectors_dagster.clock import Clock
from collectors_dagster.supervisor.lifecycle import State
from collectors_dagster.supervisor.snapshot import ComponentSnapshot, StackSnapshot
from collectors_dagster.supervisor.status import Report

Watch = Callable[[StackSnapshot], None]
_HEADINGS = ("COMPONENT", "STATE", "ADDRESS", "WHAT TO LOOK AT", "SINCE", "VERSION")
_WIDE = 110
"""Columns of a terminal from which all six fit; narrower ones show the first four."""
_COLOURS = {
    State.READY: "green",
    State.DONE: "green",
    State.EXTERNAL: "green",
    State.FAILED: "bold red",
    State.SILENT: "red",
    State.STOPPED: "dim",
}


def say(line: str, output: TextIO | None = None) -> None:
    """Print a line at once: who reads it through a pipe waits for it too."""
    stream = output or sys.stdout
    stream.write(line + "\n")
    stream.flush()


@contextmanager
def progress(clock: Clock, output: TextIO) -> Iterator[Watch]:
    """Yield what shows the start going on."""
    if output.isatty():
        with _live_progress(output) as watch:
            yield watch
    else:
        yield _plain_progress(clock, output)


def print_report(report: Report) -> None:
    """Print the table, then what is wrong, then other addresses."""
    rows = [_row(each) for each in report.components]
    if sys.stdout.isatty():
        _print_rich(rows, [each.state for each in report.components])
    else:
        _print_plain(rows)
    for each in report.components:
        if each.message:
            say(f"{each.name}: {each.message}")
    for problem in report.problems:
        say(f"configuration: {problem}")
    for name, address in report.links.items():
        say(f"{name}: {address}")


def _row(each: ComponentSnapshot) -> tuple[str, ...]:
    restarts = f" ({each.restarts}x)" if each.restarts else ""
    since = f"{datetime.fromisoformat(each.since):%m-%d %H:%M:%S}" if each.since else "-"
    return (each.name, f"{each.state}{restarts}", each.address or "-", each.look_at, since, each.version or "-")


def _print_plain(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(rows: Sequence[tuple[str, ...]], states: Sequence[State]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    shown = len(_HEADINGS) if console.width >= _WIDE else 4
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS[:shown]:
        table.add_column(heading.capitalize(), no_wrap=heading in {"COMPONENT", "ADDRESS"})
    for row, state in zip(rows, states, strict=True):
        colour = _COLOURS.get(state, "yellow")
        table.add_row(row[0], f"[{colour}]{row[1]}[/]", *row[2:shown])
    console.print(table)


def _plain_progress(clock: Clock, output: TextIO) -> Watch:
    begun = clock.monotonic()
    seen: dict[str, State] = {}

    def watch(state: StackSnapshot) -> None:
        for each in state.components:
            if seen.get(each.name) is not each.state:
                seen[each.name] = each.state
                say(_progress_line(each, clock.monotonic() - begun), output)

    return watch


def _progress_line(each: ComponentSnapshot, seconds: float) -> str:
    reason = f": {each.message}" if each.message else ""
    return f"{seconds:6.1f} s  {each.name} {each.state}{reason}"


@contextmanager
def _live_progress(output: TextIO) -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description:14}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("[dim]{task.fields[state]}"), console=Console(file=output)) as shown:
        tasks = {}

        def watch(state: StackSnapshot) -> None:
            for each in state.components:
                if each.name not in tasks:
                    tasks[each.name] = shown.add_task(each.name, total=1, start=False, state="")
                if each.state is not State.WAITING:
                    shown.start_task(tasks[each.name])
                words = f"{each.state}{': ' + each.message if each.message else ''}"
                shown.update(tasks[each.name], completed=int(each.state.is_settled), state=words)

        yield watch
