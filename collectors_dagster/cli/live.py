"""A picture on a terminal, drawn anew each second until somebody leaves it."""

import errno
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live

from collectors_dagster.cli.keys import END_OF_INPUT, pressed_keys
from collectors_dagster.clock import Clock

REFRESH_SECONDS = 1.0
LEAVING = frozenset({"q", "Q", "\x03", END_OF_INPUT})
"""What ends a picture: q, Ctrl-C where it is no signal, Ctrl-D or the terminal's end."""


def redrawn(picture: Callable[[], RenderableType], console: Console, clock: Clock) -> None:
    """Show `picture` again and again; return when a key of :data:`LEAVING` is pressed or the terminal is gone."""
    try:
        with pressed_keys(clock) as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(picture(), refresh=True)
                if pressed(REFRESH_SECONDS) in LEAVING:
                    return
    except OSError as error:
        if error.errno != errno.EIO:  # what a terminal that was closed says to whoever writes
            raise
