"""Shared state within one process: the same steps as in Redis, by their rules in Python."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from collectors_dagster.clock import Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.shared_state import Argument, Call, Record, Reply, Step


class MemoryStore:
    """A :class:`~collectors_dagster.patterns.shared_state.SharedStore` in this process; safe to share between threads.

    Parameters
    ----------
    capacity : int
        Objects kept at most; the one that was used longest ago is forgotten first.
    lasting : bool
        Whether objects are kept for ever, whatever their steps say.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> def count(record, now, arguments):
    ...     record["n"] = record.get("n", 0) + 1
    ...     return [record["n"]], 1000
    >>> clock = ManualClock()
    >>> store = MemoryStore(clock)
    >>> store.run(Step("count", count), "a"), store.run(Step("count", count), "a")
    ([1], [2])
    >>> clock.sleep(1.0)
    >>> store.run(Step("count", count), "a")
    [1]
    """

    def __init__(self, clock: Clock, *, capacity: int = 10_000, lasting: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"a store in memory holds at least one object, not {capacity}")
        self._clock = clock
        self._capacity = capacity
        self._lasting = lasting
        self._lock = threading.Lock()
        self._records: OrderedDict[str, tuple[Record, int]] = OrderedDict()

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step under a lock that is held for microseconds."""
        now = int(self._clock.monotonic() * 1e6)
        with self._lock:
            record, end = self._records.pop(key, ({}, 0))
            if end <= now and not self._lasting:
                record = {}
            reply, keep_ms = step.rule(record, now, arguments)
            if record and keep_ms > 0:
                self._records[key] = record, now + keep_ms * 1000
                if len(self._records) > self._capacity:
                    self._records.popitem(last=False)
        return reply

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step; it never waits for anything."""
        return self.run(step, key, arguments)

    def run_many(self, calls: Sequence[Call]) -> list[Reply | SharedStateUnavailableError]:
        """Run steps one after the other."""
        return [self.run(call.step, call.key, call.arguments) for call in calls]

    def __len__(self) -> int:
        return len(self._records)
