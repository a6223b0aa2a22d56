"""The loop of ``collectors agent top``: ask, draw, wait for a key."""

import sys

from rich.console import Console

from collectors_dagster.cli.live import redrawn
from collectors_dagster.cli.top_model import TopModel
from collectors_dagster.cli.top_screen import WATCHED, frame
from collectors_dagster.cli.top_source import AgentSource
from collectors_dagster.clock import Clock
from collectors_dagster.errors import IntegrationError

MOST_SECONDS = 2.0
"""How long a single frame waits for a second reading."""
PLAIN_WIDTH = 120
"""Columns of a frame that goes to a file or a pipe."""


def run_top(source: AgentSource, clock: Clock, *, once: bool) -> None:
    """Show the agent until somebody presses q or Ctrl-C; one frame without a terminal, or if asked for.

    Raises
    ------
    IntegrationError
        If the agent does not answer at the start; later it is waited for.
    """
    model = TopModel()
    model.remember(source.history(WATCHED))
    model.take(source.state())
    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else PLAIN_WIDTH)
    if once or not on_terminal:
        clock.sleep(min(MOST_SECONDS, 1.2 * model.state["sampling"]["interval_seconds"]))
        model.take(source.state())  # a rate needs two readings
        console.print(frame(model, clock.now(), console.width))
        return
    redrawn(lambda: frame(model, clock.now(), console.width, _followed(model, source)), console, clock)


def _followed(model: TopModel, source: AgentSource) -> str:
    try:
        model.take(source.state())
    except IntegrationError as error:
        return f"{error}; waiting for it (q leaves)"
    return ""
