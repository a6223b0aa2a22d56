"""Shared state that carries along what a process has counted, and lists whom it has met there.

A process that shares state talks to it anyway. Every ten seconds of that, and once more when the process ends, one step
more adds what was counted since (:mod:`collectors_dagster.patterns.metrics`) to sums of all processes, and says which
circuits, limits, bulkheads, leaders and shares were used, so that somebody who looks at the whole can find them.
"""

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from collectors_dagster.clock import Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.circuit_breaker import flush_all
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.metrics import Metrics, Series, encoded, overflow_of
from collectors_dagster.patterns.reporting_rules import TELL
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step

SHARDS = 4
"""Objects that the sums lie in, on different nodes of a cluster; a process tells one of them."""
TELL_SECONDS = 10.0
NEWS_SECONDS = 1.0
"""So soon something new is listed."""
MOST_MET = 1000
"""Objects that one process lists."""
RENEW_SECONDS = 3600.0
"""So often what is used all the time is listed anew."""


def shard_key(number: int) -> str:
    """Return the key of one of the objects that hold sums and directory."""
    return f"all:resilience:{number}"


def _numbers(arguments: Sequence[Argument], *places: int) -> str:
    return ",".join(str(arguments[place]) for place in places)


def _rate(arguments: Sequence[Argument]) -> str:
    return _numbers(arguments, 5, 6)


LISTED: Mapping[str, Callable[[Sequence[Argument]], str]] = {
    "circuit_breaker": lambda arguments: _numbers(arguments, *range(1, 11)),
    "rate_limiter_bucket": _rate,
    "rate_limiter_counters": _rate,
    "rate_limiter_fixed": _rate,
    "rate_limiter_log": _rate,
    "bulkhead_enter": lambda arguments: _numbers(arguments, 2),
    "leadership_acquire": _numbers,
    "shares_turn": _numbers,
}
"""Steps whose objects are listed, and what of their arguments says how to read the object."""


class ReportingStore:
    """A :class:`~collectors_dagster.patterns.shared_state.SharedStore` that tells on the way; safe between threads.

    Parameters
    ----------
    store : SharedStore
        Where steps are run; guarded, so that a process is not held up by telling.
    metrics : Metrics
        What is told.
    """

    def __init__(self, store: SharedStore, metrics: Metrics, *, clock: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._begin()
        renew_in_children(self._begin)
        atexit.register(self.finish)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._shard = shard_key(os.urandom(1)[0] % SHARDS)
        self._met: dict[str, float] = {}
        self._news: dict[str, str] = {}
        self._next = -1.0

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, blocking; tell if it is time."""
        reply = self._store.run(step, key, arguments)
        if self._due(step, key, arguments):
            self.flush()
        return reply

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, awaiting; tell if it is time."""
        reply = await self._store.arun(step, key, arguments)
        if self._due(step, key, arguments):
            await self._atell()
        return reply

    async def _atell(self) -> None:
        told = self._news_so_far()
        if not told:
            return
        try:
            await self._store.arun(TELL, self._shard, told.arguments)
        except SharedStateUnavailableError:
            self._take_back(told)
        except BaseException:  # cancelled: whether it was told is not known, and it is better counted twice than never
            self._take_back(told)
            raise

    def degraded(self) -> tuple[str, ...]:
        """Return the names of what is away at present, as the guarded store knows them."""
        known: Callable[[], tuple[str, ...]] = getattr(self._store, "degraded", tuple)
        return known()

    def flush(self) -> None:
        """Tell now what was counted and met; what cannot be told is kept."""
        told = self._news_so_far()
        if not told:
            return
        try:
            self._store.run(TELL, self._shard, told.arguments)
        except SharedStateUnavailableError:
            self._take_back(told)

    def finish(self) -> None:
        """Tell all, after circuits have told what they know: their calls are counted then. Also done at the exit.

        Circuits that nobody holds any more have nothing to tell: whose life ends before the process calls this.
        """
        flush_all()
        self.flush()

    def _due(self, step: Step, key: str, arguments: Sequence[Argument]) -> bool:
        """Take note of an object that was used; say whether it is time to tell."""
        now = self._clock.monotonic()
        described = LISTED.get(step.name)
        if described is not None and self._met.get(key, -RENEW_SECONDS) + RENEW_SECONDS <= now:
            self._meet(key, f"{step.name}|{described(arguments)}", now)
        if now < self._next:
            return False
        self._next = now + TELL_SECONDS
        return True

    def _meet(self, key: str, what: str, now: float) -> None:
        with self._lock:
            if key in self._met or len(self._met) < MOST_MET:
                self._met[key] = now
                self._news[key] = what
                self._next = min(self._next, now + NEWS_SECONDS)

    def _news_so_far(self) -> "_News":
        with self._lock:
            listed, self._news = self._news, {}
        return _News(self._metrics.drain(), listed)

    def _take_back(self, told: "_News") -> None:
        self._metrics.restore(told.sums)
        with self._lock:
            self._news = {**told.listed, **self._news}


class _News:
    """What is told in one step."""

    def __init__(self, sums: Mapping[Series, float], listed: Mapping[str, str]) -> None:
        self.sums = sums
        self.listed = listed

    def __bool__(self) -> bool:
        return bool(self.sums or self.listed)

    @property
    def arguments(self) -> list[Argument]:
        """The step's arguments."""
        arguments: list[Argument] = [len(self.sums)]
        for series, amount in self.sums.items():
            arguments += [encoded(series), encoded(overflow_of(series)), f"{amount:.17g}"]
        for key, what in self.listed.items():
            arguments += [key, what]
        return arguments
