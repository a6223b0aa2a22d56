"""Window limiter: one request more only where the other side cannot refuse it, in all processes together.

:class:`WindowLimiter` is one process's side of :mod:`collectors_dagster.patterns.window_rules`. A **slot** is taken
before each request and settled after it. Coroutines of one process wait in a line; processes take turns by what they
hold. It is asynchronous only: whoever must wait for a window has other things to do meanwhile.

Without shared state a process grants its share: the limit divided by the processes last seen, less what it has itself
used within the window. What it granted then is told when the store is back.
"""

import os
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from collectors_dagster.clock import AsyncClock
from collectors_dagster.errors import RateLimitExceededError, SharedStateUnavailableError
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.plans import Pause, Plan, Run, aperform
from collectors_dagster.patterns.shared_state import Argument, Item, Reply, SharedStore
from collectors_dagster.patterns.window_rules import LOOK, SETTLE, TAKE, Outcome, Reason

if TYPE_CHECKING:
    import asyncio

LONGEST_BAN = timedelta(days=7)
"""Whoever names a longer pause is not believed: a person would look by then."""
MARGIN_US = 1_000
"""A window is this much longer here than there: clocks are read in steps."""
BAN_MARGIN_US = 100_000
STRAYS = 1_000
"""Slots granted alone that are remembered, to be told when the store is back."""


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """What is granted.

    Attributes
    ----------
    window_seconds : float
        Length of the window, which slides.
    limit : int
        Requests in any window; 0: not known, it is learned.
    assumed : int
        Limit of whom neither the store nor anything remembered can tell: shared by `assumed_processes`.
    lease_seconds : float
        So long a request whose end nobody told (its process was killed) counts as under way.
    reserve : float
        Share of the limit that is kept for urgent requests for a window after the last of them.
    longest_wait_seconds : float
        A longer ban is not waited for.
    """

    window_seconds: float
    limit: int = 0
    assumed: int = 60
    lease_seconds: float = 20.0
    reserve: float = 0.1
    longest_wait_seconds: float = 30.0
    assumed_processes: int = 4

    def __post_init__(self) -> None:
        if not 0.01 <= self.window_seconds <= 86_400:
            raise ValueError(f"window_seconds is from 0.01 to 86,400, not {self.window_seconds}")
        if not 0 <= self.limit <= 10_000:
            raise ValueError(f"limit is from 1 to 10,000 requests a window, or 0 to learn it, not {self.limit}")
        if self.assumed < 1 or self.assumed_processes < 1 or not 0 <= self.reserve < 1:
            raise ValueError(f"assumed and assumed_processes are at least 1, reserve is a share below 1: {self}")
        if self.lease_seconds <= 0 or self.longest_wait_seconds < 0:
            raise ValueError(f"lease_seconds is above 0 and longest_wait_seconds not below: {self}")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is worth remembering over the end of the store.

    Attributes
    ----------
    limit, proven : int
        Learned limit (0: none) and the most that one window has taken.
    learned_at : datetime or None
        When `limit` was learned.
    banned_until : datetime or None
        Until then nothing may be sent, because of `reason`.
    """

    limit: int = 0
    proven: int = 0
    learned_at: datetime | None = None
    banned_until: datetime | None = None
    reason: Reason = Reason.NONE


class Slot(NamedTuple):
    """Leave to send one request; to be settled."""

    name: str
    alone: bool = False
    """Whether it was granted without shared state."""


class WindowStatus(NamedTuple):
    """The window as it is now."""

    knowledge: Knowledge
    used: int
    under_way: int
    alone: bool


NOTHING = Knowledge()


class _Answer(NamedTuple):
    granted: bool
    now: int
    wait: float
    ban: float
    processes: int


class WindowLimiter:
    """One limit, shared by all who name it so in the same store; for the coroutines of one event loop.

    Parameters
    ----------
    name : str
        Of what is limited, an account for instance; no braces.
    known : Knowledge
        What was remembered of an earlier time.
    urgent : bool
        Whether its requests go before others and may use the reserve.

    Attributes
    ----------
    waited_seconds : float
        For which somebody stood first in the line.
    known : Knowledge
        The same as was given, kept up to date; see :meth:`news`.

    Examples
    --------
    >>> import asyncio
    >>> from collectors_dagster.clock import ManualClock
    >>> clock = ManualClock()
    >>> limiter = WindowLimiter("music", WindowPolicy(30.0, limit=1), store=MemoryStore(clock), clock=clock)
    >>> async def twice() -> float:
    ...     for _ in range(2):
    ...         await limiter.settle(await limiter.take(), Outcome.ACCEPTED)
    ...     return clock.monotonic()
    >>> round(asyncio.run(twice()))
    30
    """

    def __init__(
        self,
        name: str,
        policy: WindowPolicy,
        *,
        store: SharedStore,
        clock: AsyncClock,
        known: Knowledge = NOTHING,
        urgent: bool = False,
    ) -> None:
        if "{" in name or "}" in name or not name:
            raise ValueError(f"the name of a limit is not empty and holds no braces: {name!r}")
        self.name = name
        self.policy = policy
        self.waited_seconds = 0.0
        self.known = known
        self._told = known
        self._store = store
        self._clock = clock
        self._urgent = urgent
        self._key = f"all:window:{name}"
        self._window_us = round(policy.window_seconds * 1e6) + MARGIN_US
        self._process = os.urandom(8).hex()
        self._number = 0
        self._own = MemoryStore(clock, capacity=1)
        self._strays: deque[str] = deque(maxlen=STRAYS)
        self._processes = policy.assumed_processes
        self._line: asyncio.Lock | None = None

    async def take(self) -> Slot:
        """Wait for a slot.

        Raises
        ------
        RateLimitExceededError
            If a ban lasts longer than the policy would wait; :attr:`known` tells until when, and why.
        DeadlineExceededError
            If the wait does not fit into the caller's deadline.
        """
        import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

        if self._line is None:
            self._line = asyncio.Lock()
        self._check_ban()
        async with self._line:
            return await aperform(self._taken(), self._store, self._clock)

    async def settle(
        self, slot: Slot, outcome: Outcome, *, pause_seconds: float | None = None, reason: Reason = Reason.NONE
    ) -> None:
        """Say what became of a slot.

        Parameters
        ----------
        pause_seconds : float or None
            Of a rejected one: the pause that the other side named, ``None`` if it named none.
        reason : Reason
            Of a rejected one.
        """
        pause = 0
        if outcome is Outcome.REJECTED and pause_seconds is not None and pause_seconds > 0:
            longest = LONGEST_BAN.total_seconds()
            pause = round(min(pause_seconds, longest) * 1e6) + BAN_MARGIN_US
            self._note_ban(pause, int(reason))  # before anything is awaited: nobody here sends into the pause
        await aperform(self._settled(slot, outcome, pause, reason), self._store, self._clock)

    def check(self) -> None:
        """Refuse if there is a ban by now, as far as this process knows; asked right before sending.

        Raises
        ------
        RateLimitExceededError
            With the seconds that are left.
        """
        left = self.ban_seconds()
        if left > 0:
            raise self._refusal(left)

    def ban_seconds(self) -> float:
        """Return how long nothing may be sent, as far as this process knows."""
        until = self.known.banned_until
        return max(0.0, (until - self._clock.now()).total_seconds()) if until else 0.0

    def news(self) -> Knowledge | None:
        """Return what became worth remembering since the last question: a limit or a ban."""
        before, self._told = self._told, self.known
        same = before.limit == self.known.limit and before.banned_until == self.known.banned_until
        return None if same else self.known

    async def status(self) -> WindowStatus:
        """Look at the window without taking anything."""
        return await aperform(self._looked(), self._store, self._clock)

    # --- plans -------------------------------------------------------------------------------------------------

    def _taken(self) -> Plan[Slot]:
        while True:
            self._check_ban()
            self._number += 1
            answer, alone = yield from self._asked()
            if answer.granted:
                slot = Slot(f"{self._process}.{self._number}.{answer.now}", alone)
                if alone:
                    self._strays.append(slot.name)
                return slot
            self._check_ban()
            began = self._clock.monotonic()
            try:
                yield Pause(answer.wait)
            finally:
                self.waited_seconds += self._clock.monotonic() - began

    def _asked(self) -> Plan[tuple[_Answer, bool]]:
        try:
            for name in tuple(self._strays):
                yield Run(SETTLE, self._key, self._outcome(name, Outcome.ACCEPTED, 0, Reason.NONE))
                self._told_stray(name)
            reply = yield Run(TAKE, self._key, self._wish(self.policy.limit))
            answer = self._understood(reply)
            self._processes = answer.processes
        except SharedStateUnavailableError:
            return self._understood(self._own.run(TAKE, self._key, self._wish(self._share()))), True
        return answer, False

    def _share(self) -> int:
        whole = self.policy.limit or self.known.limit or self.policy.assumed
        return max(1, whole // max(1, self._processes))

    def _wish(self, configured: int) -> tuple[Argument, ...]:
        known = self.known
        age = 0 if known.learned_at is None else max(0.0, (self._clock.now() - known.learned_at).total_seconds())
        return (
            self._process,
            self._number,
            self._window_us,
            round(self.policy.lease_seconds * 1e6),
            configured,
            int(self._urgent),
            round(self.policy.reserve * 1000),
            known.limit,
            known.proven,
            round(age * 1e6),
            round(self.ban_seconds() * 1e6),
            int(known.reason),
        )

    def _settled(self, slot: Slot, outcome: Outcome, pause: int, reason: Reason) -> Plan[None]:
        arguments = self._outcome(slot.name, outcome, pause, reason)
        if outcome is not Outcome.REJECTED:
            self._own.run(SETTLE, self._key, arguments)  # its share, should the store go away, is less what it used
        try:
            reply = yield Run(SETTLE, self._key, arguments)
            self._learned(reply[:5])
            self._told_stray(slot.name)
        except SharedStateUnavailableError:
            if outcome is Outcome.UNUSED:
                self._told_stray(slot.name)
            if outcome is Outcome.REJECTED:
                self._learned(self._own.run(SETTLE, self._key, arguments)[:5])

    def _told_stray(self, name: str) -> None:
        """Forget a slot that was granted alone: it was told, or given back."""
        if name in self._strays:
            self._strays.remove(name)

    def _looked(self) -> Plan[WindowStatus]:
        try:
            reply, alone = (yield Run(LOOK, self._key, (self._window_us,))), False
        except SharedStateUnavailableError:
            reply, alone = self._own.run(LOOK, self._key, (self._window_us,)), True
        if len(reply) != 7:
            raise _nonsense(self.name)
        self._learned(reply[:5])
        return WindowStatus(self.known, _whole(reply[5]), _whole(reply[6]), alone)

    def _outcome(self, name: str, outcome: Outcome, pause: int, reason: Reason) -> tuple[Argument, ...]:
        return (name, int(outcome), self._window_us, self.policy.limit, pause, int(reason))

    # --- what this process knows -------------------------------------------------------------------------------

    def _understood(self, reply: Reply) -> _Answer:
        if len(reply) != 11:
            raise _nonsense(self.name)
        granted, now, wait = map(_whole, reply[:3])
        if granted > 1 or (wait > 0) == bool(granted):
            raise _nonsense(self.name)
        self._learned(reply[3:8])
        return _Answer(granted == 1, now, wait / 1e6, _whole(reply[3]) / 1e6, _whole(reply[10]))

    def _learned(self, items: list[Item]) -> None:
        """Keep what a reply tells: ban left, reason, limit, proven, age."""
        ban, reason, limit, proven, age = map(_whole, items)
        if ban > 0:
            self._note_ban(ban, reason)
        if limit and (limit, proven) != (self.known.limit, self.known.proven):
            same = limit == self.known.limit
            learned_at = self.known.learned_at if same else self._clock.now() - timedelta(microseconds=age)
            self.known = replace(self.known, limit=limit, proven=proven, learned_at=learned_at)
        elif not limit:
            self.known = replace(self.known, proven=max(proven, self.known.proven))

    def _note_ban(self, microseconds: int, reason: int) -> None:
        until = self._clock.now() + timedelta(microseconds=microseconds)
        before = self.known.banned_until
        # The same ban is told again and again, each time with the delay of one answer.
        if before is None or until > before + timedelta(seconds=1):
            code = Reason(reason) if reason in set(Reason) else Reason.UNKNOWN
            self.known = replace(self.known, banned_until=until, reason=code)

    def _check_ban(self) -> None:
        left = self.ban_seconds()
        if left > self.policy.longest_wait_seconds + 1:  # a pause of just so long is waited for, with its margin
            raise self._refusal(left)

    def _refusal(self, left: float) -> RateLimitExceededError:
        error = RateLimitExceededError(
            f"nothing may be sent for {self.name!r} for {left:.0f} s ({self.known.reason.name})"
        )
        error.retry_after_seconds = left
        return error


def _whole(item: Item) -> int:
    if not isinstance(item, int) or item < 0:
        raise SharedStateUnavailableError("a window's store answered something that is no count")
    return item


def _nonsense(name: str) -> SharedStateUnavailableError:
    return SharedStateUnavailableError(
        f"the window {name!r} got a reply without sense", kind="nonsense", one_object=True
    )
