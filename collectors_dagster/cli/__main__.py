"""Entry point of `collectors`; whatever a command needs is imported when that command runs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import typer

from collectors_dagster.errors import CollectorsError


@dataclass(frozen=True, slots=True)
class Entry:
    """One name after `collectors`: the module that holds its typer `app`, and its line of help."""

    module: str
    help: str
    is_group: bool = True


_STACK = "collectors_dagster.cli.stack"
ENTRIES = {
    "up": Entry(_STACK, "Start everything on this machine, or what is missing of it.", is_group=False),
    "down": Entry(_STACK, "Stop exactly what `up` started.", is_group=False),
    "status": Entry(_STACK, "Show every component: state, address, what to look at.", is_group=False),
    "logs": Entry(_STACK, "Show the components' logs.", is_group=False),
    "tenant": Entry("collectors_dagster.cli.tenant", "Add, list, show and remove tenants; their database logins."),
    "agent": Entry("collectors_dagster.cli.agent", "The sampler of this host."),
    "scorer": Entry("collectors_dagster.cli.scorer", "The stream scorer."),
    "incident": Entry("collectors_dagster.cli.incident", "What was raised; say that it is normal, or was real."),
    "db": Entry("collectors_dagster.cli.db", "Migrate, examine, query and export the store; logins of the staff."),
    "resilience": Entry(
        "collectors_dagster.cli.resilience", "Circuits, limits, leaders: how they are; circuits by hand."
    ),
    "metrics": Entry("collectors_dagster.cli.metrics", "Metrics of the policies of all processes, for Prometheus."),
    "redis": Entry("collectors_dagster.cli.redis", "The place of shared state: whether it works from here."),
    "spotify": Entry("collectors_dagster.cli.spotify", "Connect users' Spotify accounts, and look after them."),
    "demo": Entry("collectors_dagster.cli.demo", "A synthetic tenant with planted incidents."),
    "detect": Entry("collectors_dagster.cli.detect", "Score a CSV or Parquet file of your own.", is_group=False),
    "forecast": Entry("collectors_dagster.cli.forecast", "Forecast a CSV or Parquet file of your own.", is_group=False),
    "sandbox": Entry("collectors_dagster.cli.sandbox", "A local Spotify with invented data."),
    "run": Entry("collectors_dagster.cli.run", "Run the pipeline by hand."),
}


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the whole command, of which only the part named by `arguments` is imported."""
    app = typer.Typer(
        name="collectors",
        help="Multi-tenant data collection on Dagster: collect, store, model, score, judge.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_with_settings)
    asked = next((word for word in arguments if word in ENTRIES), "")
    for name, entry in ENTRIES.items():
        _attach(app, name, entry, imported=name == asked)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a known error is one line on standard error and exit code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        typer.main.get_command(build_app(words))(words, prog_name="collectors")
    except CollectorsError as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"collectors: {line}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _attach(app: typer.Typer, name: str, entry: Entry, *, imported: bool) -> None:
    if not imported:
        app.command(name, help=entry.help)(_nothing)
        return
    part: typer.Typer = import_module(entry.module).app
    if entry.is_group:
        app.add_typer(part, name=name, help=entry.help)
    else:
        app.registered_commands += [command for command in part.registered_commands if command.name == name]


def _with_settings(
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting over all files and variables; repeat for more."),
    ] = None,
) -> None:
    """Let settings of the command line hold here and in everything started from here."""
    if assignments:
        from collectors_dagster.config.command_line import apply_command_line

        apply_command_line(assignments)


def _nothing() -> None:
    """Stand for a command that is listed but not asked for."""


if __name__ == "__main__":
    main()
