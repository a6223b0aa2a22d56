"""Single flight: of the callers in this process that want the same, one goes and the others wait for what it brings.

Threads and coroutines may wait for each other. A leader that is cancelled hands over to the one who has waited
longest, so that nobody hangs and nobody fails for another one's cancellation. The lock is held for moments only.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from collectors_dagster.patterns.forks import renew_in_children

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Landing(Generic[T]):
    """What a flight brought: a result, or the error to raise."""

    result: T | None = None
    error: Exception | None = None


@dataclass(eq=False, slots=True)
class _Flight(Generic[T]):
    token: str
    leader: "Seat[T] | None" = None
    waiting: "deque[Seat[T]]" = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Seat(Generic[T]):
    """One caller's part in a flight.

    Attributes
    ----------
    leads : bool
        Whether it is this caller that goes; may become so while it waits.
    landing : Landing or None
        What the flight brought, once it has landed.
    """

    _flights: "Flights[T]"
    _flight: _Flight[T]
    key: object
    leads: bool = False
    landing: Landing[T] | None = None
    _wake: Callable[[], object] | None = None

    @property
    def token(self) -> str:
        """Of the flight, whoever leads it."""
        return self._flight.token

    def on_ready(self, wake: Callable[[], object], /) -> bool:
        """Have `wake` called when this caller leads or the flight has landed; return whether that is still to come."""
        return self._flights.set_wake(self, wake)


class Flights(Generic[T]):
    """The flights of one cache.

    Examples
    --------
    >>> flights = Flights()
    >>> first, second = flights.join("key"), flights.join("key")
    >>> flights.leave(first), second.leads
    (False, True)
    >>> flights.land(second, Landing("answer"))
    >>> flights.leave(second), len(flights)
    (False, 0)
    """

    def __init__(self) -> None:
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[object, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def join(self, key: object) -> Seat[T]:
        """Return a seat in the flight for `key`: the leader's, if there was none."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is None:
                flight = self._under_way[key] = _Flight(os.urandom(8).hex())
            seat = Seat(self, flight, key, leads=flight.leader is None)
            if seat.leads:
                flight.leader = seat
            else:
                flight.waiting.append(seat)
            return seat

    def set_wake(self, seat: Seat[T], wake: Callable[[], object]) -> bool:
        """See :meth:`Seat.on_ready`."""
        with self._lock:
            if seat.leads or seat.landing is not None:
                return False
            seat._wake = wake  # noqa: SLF001 - a seat is a part of this
            return True

    def land(self, seat: Seat[T], landing: Landing[T]) -> None:
        """Give all who wait what their leader has brought."""
        with self._lock:
            flight = seat._flight  # noqa: SLF001 - as above
            if flight.leader is not seat:
                return
            flight.leader = None
            self._forget(seat)
            waiting, flight.waiting = flight.waiting, deque()
            for each in (seat, *waiting):
                each.landing = landing
        for each in waiting:
            _wake(each)

    def leave(self, seat: Seat[T]) -> bool:
        """Leave a flight, however it went; return whether it had not landed and nobody is left to lead it."""
        leaving: Seat[T] | None = seat
        while leaving is not None:
            successor = self._left(leaving)
            if successor is None:
                return leaving.leads and leaving.landing is None
            leaving = None if _wake(successor) else successor
        return False

    def _left(self, seat: Seat[T]) -> "Seat[T] | None":
        """Leave, and return who leads from now on."""
        with self._lock:
            flight = seat._flight  # noqa: SLF001 - as above
            if flight.leader is not seat:
                if seat in flight.waiting:
                    flight.waiting.remove(seat)
                return None
            successor = flight.leader = flight.waiting.popleft() if flight.waiting else None
            if successor is None:
                self._forget(seat)
            else:
                successor.leads = True
            return successor

    def detach(self, key: object) -> None:
        """Let whoever joins from now on begin anew: what is under way may bring what was before."""
        with self._lock:
            self._under_way.pop(key, None)

    def detach_all(self) -> None:
        """Do so for all keys."""
        with self._lock:
            self._under_way.clear()

    def _forget(self, seat: Seat[T]) -> None:
        if self._under_way.get(seat.key) is seat._flight:  # noqa: SLF001 - as above
            del self._under_way[seat.key]


def _wake(seat: Seat[T]) -> bool:
    """Wake a seat; say whether there is anybody: an event loop that was closed never comes back."""
    wake = seat._wake  # noqa: SLF001 - as above
    if wake is not None:
        try:
            wake()
        except RuntimeError:
            return False
    return True
