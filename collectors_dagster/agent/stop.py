"""The sign to stop, waited for once a second by every thread of the agent."""

import threading
from typing import Protocol


class Stopping(Protocol):
    """What can be waited for: a :class:`Stop`, or an event of ``threading``."""

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait for the sign, `timeout` seconds at most; tell whether it was given."""
        ...


class Stop:
    """An event that is set once, waited for in one call of the interpreter.

    An event of ``threading`` makes a lock anew for every wait and needs three more around it, all of which the
    processor's caches have forgotten a second later: a twentieth of what a sweep costs.
    """

    __slots__ = ("_given", "_running")

    def __init__(self) -> None:
        self._given = False
        self._running = threading.Lock()
        self._running.acquire()

    def set(self) -> None:
        """Give the sign; a signal handler may."""
        if not self._given:
            self._given = True
            self._running.release()

    def is_set(self) -> bool:
        """Tell whether it was given."""
        return self._given

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait for the sign, `timeout` seconds at most; tell whether it was given."""
        if self._running.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            self._running.release()  # the next one waits for it too
        return self._given
