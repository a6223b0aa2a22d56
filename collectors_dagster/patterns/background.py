"""What a thread of this process does while nobody waits for it: one thread, and only while there is something to do."""

import os
import threading
from collections import deque
from collections.abc import Callable

from collectors_dagster.logs import get_logger

log = get_logger("background")

MOST_WAITING = 100
IDLE_SECONDS = 1.0


class Background:
    """Does jobs one after the other."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None

    def start(self, job: Callable[[], None]) -> bool:
        """Have a job done; return whether it will be: not if too many wait already."""
        if self._process != os.getpid():  # forked: the thread stayed in the parent
            self._forget()
        with self._changed:
            if len(self._jobs) >= self._most_waiting:
                return False
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="background", daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - one job's fault must not end the others
                log.warning("work in the background failed", error=type(error).__name__)

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            if not self._jobs:
                self._changed.wait_for(lambda: bool(self._jobs), IDLE_SECONDS)
            if self._jobs:
                return self._jobs.popleft()
            self._thread = None
            return None


BACKGROUND = Background()
"""The process's own."""
