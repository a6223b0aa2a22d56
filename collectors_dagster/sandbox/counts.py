"""What was asked of the sandbox: every request, so that tests and benchmarks can judge a client."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT = 50_000
"""Requests whose details are kept; the counts go on."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request.

    Attributes
    ----------
    at : float
        Seconds of the sandbox's monotonic clock.
    arrived : float
        The same by the machine's clock.
    route : str
        Method and pattern, ``GET /v1/artists/{id}``.
    token : str
        A short mark of the access token, the same for the same token; never the token.
    fault : str
        The kind of the fault that struck it, if any.
    during_retry_after : bool
        Asked before an announced pause was over, and not already on its way when it was announced.
    in_flight : bool
        Asked before the pause was over, but so soon after the 429 that it may have been on its way.
    """

    at: float
    arrived: float
    route: str
    path: str
    query: str
    account: str
    client_id: str
    user: str
    token: str
    status: int
    fault: str = ""
    during_retry_after: bool = False
    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums since the last reset. Requests to the sandbox's own controls are not counted."""

    total: int
    by_route: Mapping[str, int]
    by_account: Mapping[str, int]
    by_status: Mapping[int, int]
    by_token: Mapping[str, int]
    by_fault: Mapping[str, int]
    token_requests: int
    rotated_reuse: int
    during_retry_after: int
    in_flight: int

    def of(self, route: str) -> int:
        """Return how often a route was asked, e.g. ``GET /v1/artists/{id}``."""
        return self.by_route.get(route, 0)


@dataclass(slots=True)
class Ledger:
    """Collects the records."""

    records: deque[RequestRecord] = field(default_factory=lambda: deque(maxlen=KEPT))
    rotated_reuse: int = 0
    _by_route: Counter[str] = field(default_factory=Counter)
    _by_account: Counter[str] = field(default_factory=Counter)
    _by_status: Counter[int] = field(default_factory=Counter)
    _by_token: Counter[str] = field(default_factory=Counter)
    _by_fault: Counter[str] = field(default_factory=Counter)
    _during: int = 0
    _in_flight: int = 0

    def note(self, record: RequestRecord) -> None:
        """Add a request that was answered, or was left without an answer on purpose (status 0)."""
        self.records.append(record)
        self._by_route[record.route] += 1
        self._by_status[record.status] += 1
        self._during += record.during_retry_after
        self._in_flight += record.in_flight
        for counter, key in (
            (self._by_account, record.account),
            (self._by_token, record.token),
            (self._by_fault, record.fault),
        ):
            if key:
                counter[key] += 1

    def counts(self) -> Counts:
        """Return the sums."""
        return Counts(
            total=self._by_route.total(),
            by_route=dict(self._by_route),
            by_account=dict(self._by_account),
            by_status=dict(self._by_status),
            by_token=dict(self._by_token),
            by_fault=dict(self._by_fault),
            token_requests=self._by_route["POST /api/token"],
            rotated_reuse=self.rotated_reuse,
            during_retry_after=self._during,
            in_flight=self._in_flight,
        )


@dataclass(slots=True)
class Pauses:
    """The pauses that were announced to each account, to tell who asks nevertheless.

    Examples
    --------
    >>> pauses = Pauses(in_flight_seconds=0.25)
    >>> pauses.announce("a", until=30.0, arrived=0.0)
    >>> [pauses.judge("a", at, arrived) for at, arrived in ((1, 0.1), (5, 5.0), (30, 30.0))]
    [(False, True), (True, False), (False, False)]
    """

    in_flight_seconds: float
    _announced: dict[str, tuple[float, float]] = field(default_factory=dict)

    def announce(self, account: str, until: float, arrived: float) -> None:
        """Note that an account was told to wait until `until` (the sandbox's clock), at `arrived` (the machine's)."""
        known, first = self._announced.get(account, (0.0, arrived))
        self._announced[account] = (max(until, known), first)

    def judge(self, account: str, at: float, arrived: float) -> tuple[bool, bool]:
        """Return whether a request came during a pause, and whether it may have been on its way instead."""
        until, announced = self._announced.get(account, (at, arrived))
        if at >= until:
            self._announced.pop(account, None)
            return False, False
        on_its_way = arrived - announced <= self.in_flight_seconds
        return not on_its_way, on_its_way

    def clear(self) -> None:
        """Forget all."""
        self._announced.clear()
