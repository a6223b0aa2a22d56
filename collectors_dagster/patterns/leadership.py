"""Leadership: at most one leader per role, and tenants divided among the instances that live.

Both are leases with a **fencing token**: a number that grows with each change of hands. Give it to whatever is written
to, and let that refuse a smaller one: only so a leader that was asleep does no harm. A leader gives up by its own
clock, a tenth of the lease early, whatever the store says or does not say.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.leadership_rules import ACQUIRE, DEPART, RENEW, RESIGN, TURN
from collectors_dagster.patterns.plans import Plan, Run, aperform, perform
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore

MARGIN = 0.1
"""Of a lease, given up early."""


class Leadership:
    """One candidate for one role. Call :meth:`turn` every third of the lease; ask :attr:`token` before each write.

    Parameters
    ----------
    holder : str
        This candidate; no two have the same.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> clock = ManualClock()
    >>> store = MemoryStore(clock)
    >>> one, other = (Leadership("scorer", holder, store=store, clock=clock) for holder in ("a", "b"))
    >>> one.turn(), other.turn()
    (1, None)
    >>> clock.sleep(15.0)
    >>> one.token, other.turn() is None
    (None, False)
    """

    def __init__(
        self, role: str, holder: str, *, store: SharedStore, clock: Clock, lease_seconds: float = 15.0, tenant: str = ""
    ) -> None:
        if not lease_seconds >= 0.1:
            raise ValueError(f"lease_seconds is at least 0.1, not {lease_seconds}")
        self.role = role
        self.holder = holder
        self.lease_seconds = lease_seconds
        self._store = store
        self._clock = clock
        self._key = f"{tenant or 'all'}:leader:{role}"
        self._token = 0
        self._until = 0.0

    @property
    def token(self) -> int | None:
        """The fencing token while this candidate leads, else ``None``. Machine sleep counts as time."""
        return self._token if self._token and self._clock.boottime() < self._until else None

    def turn(self) -> int | None:
        """Go on leading, or try to; return the token."""
        return perform(self._turn(), self._store, self._clock)

    async def aturn(self) -> int | None:
        """Do the same without blocking the event loop."""
        return await aperform(self._turn(), self._store, cast("AsyncClock", self._clock))

    def resign(self) -> None:
        """Let others lead at once."""
        perform(self._resigned(), self._store, self._clock)

    async def aresign(self) -> None:
        """Do the same without blocking the event loop."""
        await aperform(self._resigned(), self._store, cast("AsyncClock", self._clock))

    def _turn(self) -> Plan[int | None]:
        asked, token, lease = self._clock.boottime(), self.token, round(self.lease_seconds * 1e6)
        try:
            if token is None:
                token = _whole((yield Run(ACQUIRE, self._key, (self.holder, lease))), 2)[0]
            else:
                token *= min(1, _whole((yield Run(RENEW, self._key, (self.holder, token, lease))), 1)[0])
        except SharedStateUnavailableError:
            return self.token  # until its time is over
        self._token = token
        self._until = asked + self.lease_seconds * (1 - MARGIN)
        return self.token

    def _resigned(self) -> Plan[None]:
        token, self._token = self._token, 0
        if not token:
            return
        try:
            yield Run(RESIGN, self._key, (self.holder, token), late=True)
        except SharedStateUnavailableError:
            return  # the lease ends by itself


def owner_of(share: str, instances: Iterable[str]) -> str:
    """Return the instance that should have `share` (rendezvous hashing, Thaler and Ravishankar 1998).

    When an instance comes or goes, only its own shares move.

    Examples
    --------
    >>> owners = {share: owner_of(share, ["a", "b", "c"]) for share in map(str, range(99))}
    >>> all(owner_of(share, ["a", "b"]) == owner for share, owner in owners.items() if owner != "c")
    True
    """
    from hashlib import blake2b  # noqa: PLC0415 - processes without shares stay small

    return max(instances, key=lambda instance: (blake2b(f"{share}\0{instance}".encode()).digest(), instance))


class Shares:
    """One instance's part of the shares (tenants). Call :meth:`turn` every :attr:`heartbeat_seconds`.

    Parameters
    ----------
    dead_seconds : float
        An instance that was not heard for so long lives no longer; its shares are free by then.
    """

    def __init__(
        self,
        group: str,
        instance: str,
        *,
        store: SharedStore,
        clock: Clock,
        heartbeat_seconds: float = 2.0,
        dead_seconds: float = 6.0,
    ) -> None:
        if not 0.05 <= heartbeat_seconds * 2 <= dead_seconds:
            raise ValueError(f"dead_seconds {dead_seconds} is at least twice heartbeat_seconds {heartbeat_seconds}")
        self.instance = instance
        self.heartbeat_seconds = heartbeat_seconds
        self.instances: Sequence[str] = ()
        self._dead = dead_seconds
        self._store = store
        self._clock = clock
        self._key = f"all:shares:{group}"
        self._tokens: dict[str, int] = {}
        self._until = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether the others know that this instance lives; without a store, or asleep for too long, it is not."""
        return self._clock.boottime() < self._until

    @property
    def tokens(self) -> Mapping[str, int]:
        """The shares of this instance, each with its fencing token; none if it was not heard for too long."""
        return self._tokens if self.is_heard else {}

    def turn(self, shares: Iterable[str]) -> Mapping[str, int]:
        """Say that this instance lives; give back what others should have, claim what it should have.

        Work on a share that is given back has to be finished before: call this between two pieces of work.
        """
        return perform(self._turn(sorted(set(shares))), self._store, self._clock)

    async def aturn(self, shares: Iterable[str]) -> Mapping[str, int]:
        """Do the same without blocking the event loop."""
        return await aperform(self._turn(sorted(set(shares))), self._store, cast("AsyncClock", self._clock))

    def depart(self) -> None:
        """Give everything back; the others take it at their next turn."""
        perform(self._departed(), self._store, self._clock)

    def _turn(self, shares: Sequence[str]) -> Plan[Mapping[str, int]]:
        try:
            for _ in range(2):  # the second time, if others live than it thought
                before = self.instances
                yield from self._claimed(shares)
                if self.instances == before:
                    break
        except SharedStateUnavailableError:
            pass  # what it has stays its own until its time is over
        return self.tokens

    def _claimed(self, shares: Sequence[str]) -> Plan[None]:
        asked = self._clock.boottime()
        own = [each for each in shares if self.instances and owner_of(each, self.instances) == self.instance]
        given = sorted(set(self._tokens) - set(own))
        micros = round(self._dead * 1e6)
        arguments: list[Argument] = [self.instance, micros, micros, len(given), *given, *own]
        instances, tokens = self._understood((yield Run(TURN, self._key, arguments)), len(own))
        self.instances = instances
        self._tokens = {share: token for share, token in zip(own, tokens, strict=True) if token}
        self._until = asked + self._dead * (1 - MARGIN)

    def _departed(self) -> Plan[None]:
        given, self._tokens = sorted(self._tokens), {}
        self.instances = ()
        try:
            yield Run(DEPART, self._key, (self.instance, *given), late=True)
        except SharedStateUnavailableError:
            return  # the others see it by its silence

    def _understood(self, reply: Reply, claims: int) -> tuple[list[str], list[int]]:
        alive = reply[0] if reply else None
        if not isinstance(alive, int) or len(reply) != 1 + alive + claims:
            raise SharedStateUnavailableError("the store of shares gave a reply without sense")
        names = [item for item in reply[1 : 1 + alive] if isinstance(item, bytes)]
        instances = [name.decode(errors="replace") for name in names]
        if self.instance not in instances:
            raise SharedStateUnavailableError("the store of shares does not know who asked")
        return instances, _whole(reply[1 + alive :], claims)


def _whole(reply: Reply, length: int) -> list[int]:
    numbers = [item for item in reply if isinstance(item, int) and item >= 0]
    if len(numbers) != length or len(reply) != length:
        raise SharedStateUnavailableError("the store of leases answered something that is no token")
    return numbers
