"""Keys that somebody presses while a picture is shown."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TextIO

from collectors_dagster.clock import Clock

END_OF_INPUT = "\x04"


@contextmanager
def pressed_keys(clock: Clock) -> Iterator[Callable[[float], str]]:
    """Yield a function that waits for a key and returns it, or nothing after its time."""
    stream = sys.stdin
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
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(stream, termios.TCSADRAIN, before)


def _key(stream: TextIO, seconds: float) -> str:
    """Return a key; past the stream's own buffer, in which a second one could not be seen waiting.

    A terminal that is gone is ready at once, always, and has nothing: that is the end of input.
    """
    ready, _, _ = select.select([stream], [], [], seconds)
    if not ready:
        return ""
    try:
        return os.read(stream.fileno(), 1).decode("ascii", "replace") or END_OF_INPUT
    except OSError:
        return END_OF_INPUT


def _no_key(clock: Clock, seconds: float) -> str:
    clock.sleep(seconds)
    return ""
