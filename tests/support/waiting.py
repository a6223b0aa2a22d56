"""Waiting for another process: real time, bounded, with a reason when it does not come."""

from collections.abc import Callable
from threading import Event
from time import monotonic

from tests.support.patience import patient


def wait_until(condition: Callable[[], bool], seconds: float, what: str = "the condition") -> None:
    """Return as soon as `condition` holds; fail after `seconds`, and more of them where others are at work."""
    deadline = monotonic() + patient(seconds)
    pause = Event()
    while not condition():
        assert monotonic() < deadline, f"{what} did not come true within {patient(seconds):g} s"
        pause.wait(0.02)
