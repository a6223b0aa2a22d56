"""Renews leases while their holders work: one background thread in the process, and only while there is a lease."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.logs import get_logger

log = get_logger("leases")


@dataclass(slots=True)
class _Duty:
    run: Callable[[], object]
    every_seconds: float
    due: float


class LeaseKeeper:
    """Calls each duty again and again. Duties are short: they share one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._duties: dict[int, _Duty] = {}
        self._numbers = 0
        self._thread: threading.Thread | None = None

    def keep(self, duty: Callable[[], object], *, every_seconds: float) -> Callable[[], None]:
        """Call `duty` every so often, first after one interval; return what ends that."""
        if self._process != os.getpid():  # forked: the thread stayed in the parent
            self._forget()
        with self._changed:
            self._numbers += 1
            number = self._numbers
            self._duties[number] = _Duty(duty, every_seconds, self._clock.monotonic() + every_seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="lease-keeper", daemon=True)
                self._thread.start()
            self._changed.notify()

        def end() -> None:
            with self._changed:
                self._duties.pop(number, None)

        return end

    def _work(self) -> None:
        while (due := self._next()) is not None:
            for duty in due:
                try:
                    duty.run()
                except Exception as error:  # noqa: BLE001 - one duty's fault must not end the others' leases
                    log.warning("a lease could not be renewed", error=type(error).__name__)

    def _next(self) -> list[_Duty] | None:
        """Wait until something is due; ``None`` once nothing has been left for a while."""
        with self._changed:
            while self._duties:
                now = self._clock.monotonic()
                due = [duty for duty in self._duties.values() if duty.due <= now]
                for duty in due:
                    duty.due = now + duty.every_seconds
                if due:
                    return due
                self._changed.wait(min(duty.due for duty in self._duties.values()) - now)
            self._thread = None
            return None


KEEPER = LeaseKeeper(SystemClock())
"""The process's own."""
