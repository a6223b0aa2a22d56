"""The loop of ``collectors agent top``: ask, draw, wait for a key."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from rich.console import Console
from rich.live import Live

from collectors_dagster.cli.top_model import TopModel
from collectors_dagster.cli.top_screen import WATCHED, frame
from collectors_dagster.cli.top_source import AgentSource
from collectors_dagster.clock import Clock
from collectors_dagster.errors import IntegrationError

REFRESH_SECONDS = 1.0
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
    with _keys(sys.stdin, clock) as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        trouble = ""
        while True:
            live.update(frame(model, clock.now(), console.width, trouble), refresh=True)
            if pressed(REFRESH_SECONDS) in {"q", "Q", "\x03", "\x04"}:
                return
            trouble = _followed(model, source)


def _followed(model: TopModel, source: AgentSource) -> str:
    try:
        model.take(source.state())
    except IntegrationError as error:
        return f"{error}; waiting for it (q leaves)"
    return ""


@contextmanager
def _keys(stream: TextIO, clock: Clock) -> Iterator[Callable[[float], str]]:
    """Yield a function that waits for a key and returns it, or nothing after its time."""
    if not stream.isatty():
        yield partial(_no_key, clock)
        return
    import termios
    import tty

    before = termios.tcgetattr(stream)
    tty.setcbreak(stream)
    try:
        yield partial(_key, stream)
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)


def _key(stream: TextIO, seconds: float) -> str:
    """Return a key; past the stream's own buffer, in which a second one could not be seen waiting."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return os.read(stream.fileno(), 1).decode("ascii", "replace") if ready else ""


def _no_key(clock: Clock, seconds: float) -> str:
    clock.sleep(seconds)
    return ""
