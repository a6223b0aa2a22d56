"""`collectors up | down | status | logs`: the local stack."""

import typer

from collectors_dagster.cli import stack_output as output
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.supervisor import control

app = typer.Typer()
_ONLY = typer.Option("", help="Only these components, e.g. postgres,redis,migrations; what they need is left out.")


@app.command("up")
def up(only: str = _ONLY) -> None:
    """Start everything on this machine, or what is missing of it; return when it is ready."""
    settings = load_settings()
    with output.progress() as watch:
        state = control.bring_up(settings, _names(only), SystemClock(), watch)
    output.print_table(state)


@app.command("down")
def down() -> None:
    """Stop exactly what `up` started."""
    stopped = control.take_down(load_settings(), SystemClock())
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
