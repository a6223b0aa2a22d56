"""What goes wrong on demand: which requests a fault strikes, and what it does to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from collectors_dagster.sandbox.invention import seeded

FaultKind = Literal[
    "status",  # another status, with `body` and `headers`
    "reset",  # the connection is reset before any answer
    "reset_midway",  # ... and after half of the body
    "short_body",  # the connection ends after half of the body that Content-Length announced
    "truncated_json",  # half of the body, with a Content-Length that says so
    "empty",  # 200 without a body
    "html",  # 200 with a page for people
    "bad_utf8",  # 200 with JSON that is no UTF-8
    "not_an_object",  # 200 with a JSON list
    "drip",  # `bytes_per_second`
    "hang",  # no answer until the client gives up
    "hang_midway",  # ... after half of the body
    "retry_after",  # 429 with the header `retry_after`, as it is; with `ban_seconds`, the account is really banned
    "text_429",  # 429 in plain text
    "closed",  # 429 whatever was asked before, without Retry-After unless `retry_after` says one
    "quota",  # QUOTA_EXCEEDED for `hours`
    "expired",  # the access token of the request has just expired
    "nulls",  # the first `count` items are null
    "next",  # `next` points to `value`: foreign, self, http, back, elsewhere, or an address
    "redirect",  # 302 to `value`
    "edit",  # `edits` of the JSON, by JSON pointer
    "change",  # `change` is made to its playlist once the answer is on its way
    "change_before",  # ... and before the answer is made
]


@dataclass(frozen=True, slots=True)
class PlaylistChange:
    """A change of a playlist: items leave, one moves, items come.

    Attributes
    ----------
    remove : sequence of int
        Positions.
    move : pair of int or None
        From where to where.
    add : sequence of str
        Identifiers of tracks.
    at : int
        Where they are added; beyond the end: at the end.
    """

    playlist: str
    remove: Sequence[int] = ()
    move: tuple[int, int] | None = None
    add: Sequence[str] = ()
    at: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes
    ----------
    path : str
        A pattern of paths, with ``*``: ``/v1/playlists/*``, ``/api/token``.
    after : int
        How many matching requests pass first.
    times : int or None
        How many it strikes then; ``None``: all.
    probability : float
        With which it strikes, by the sandbox's own seeded dice.
    """

    kind: FaultKind
    path: str = "/v1/*"
    after: int = 0
    times: int | None = 1
    probability: float = 1.0
    status: int = 503
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: str | None = None
    ban_seconds: float = 0.0
    bytes_per_second: float = 200.0
    count: int = 1
    hours: float = 1.0
    value: str = "foreign"
    edits: Mapping[str, Any] = field(default_factory=dict)
    change: PlaylistChange | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"there is no fault {self.kind!r}; there are {', '.join(get_args(FaultKind))}")
        if self.kind.startswith("change") and self.change is None:
            raise ValueError(f"the fault {self.kind} needs a `change`")
        if self.bytes_per_second <= 0:
            raise ValueError("bytes_per_second must be more than 0")


@dataclass(slots=True)
class _Armed:
    fault: Fault
    passed: int = 0
    struck: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times


class FaultPlan:
    """The faults that wait for their requests; the first that strikes a request has it alone.

    Examples
    --------
    >>> plan = FaultPlan(seed=1)
    >>> plan.arm(Fault("empty", path="/v1/artists/*", after=1))
    >>> [plan.strike(f"/v1/artists/{n}") is not None for n in range(4)]
    [False, True, False, False]
    """

    def __init__(self, seed: int) -> None:
        self._armed: list[_Armed] = []
        self._dice = seeded(seed, "faults")

    def arm(self, fault: Fault) -> None:
        """Let a fault wait, after those that wait already."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Forget all faults."""
        self._armed.clear()

    def strike(self, path: str) -> Fault | None:
        """Return the fault that strikes a request to `path`."""
        for armed in self._armed:
            if armed.is_spent or not fnmatchcase(path, armed.fault.path):
                continue
            armed.passed += 1
            if armed.passed > armed.fault.after and self._dice.random() < armed.fault.probability:
                armed.struck += 1
                return armed.fault
        return None
