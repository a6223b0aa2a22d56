"""One request to the Web API as its endpoint sees it, and what may be wrong with its parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from collectors_dagster.sandbox.accounts import AccessToken
from collectors_dagster.sandbox.http import Request
from collectors_dagster.sandbox.ids import is_base62
from collectors_dagster.sandbox.invention import MARKETS
from collectors_dagster.sandbox.listeners import Listener, Listeners
from collectors_dagster.sandbox.options import Mode
from collectors_dagster.sandbox.playlists import Playlists
from collectors_dagster.sandbox.rendering import Json, Renderer
from collectors_dagster.sandbox.world import World

_Item = TypeVar("_Item")


class ApiError(Exception):
    """An answer other than 200, in the shape of the Web API's errors."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason

    def as_json(self) -> Json:
        """Return the body."""
        reason = {"reason": self.reason} if self.reason else {}
        return {"error": {"status": self.status, "message": self.message, **reason}}


@dataclass(frozen=True, slots=True)
class Everything:
    """The whole invented world."""

    world: World
    listeners: Listeners
    playlists: Playlists


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a known application, with a valid token.

    Attributes
    ----------
    parts : mapping of str to str
        What stands in the place of the names in the route's pattern.
    user : Listener or None
        Whose token it is; ``None`` for an application's own.
    """

    request: Request
    parts: Mapping[str, str]
    token: AccessToken
    user: Listener | None
    mode: Mode
    now: datetime
    base_url: str
    everything: Everything = field(repr=False)

    @property
    def is_extended(self) -> bool:
        """Whether the application has extended quota."""
        return self.mode == "extended"

    @property
    def listener(self) -> Listener:
        """The user; the route has seen to it that there is one."""
        assert self.user is not None
        return self.user

    def renderer(self) -> Renderer:
        """Return what writes the answer's objects for this caller."""
        return Renderer(self.everything.world, self.base_url, self.mode, self.now.date(), self._market())

    def text(self, name: str, missing: str) -> str:
        """Return a parameter that must be there."""
        value = self.request.query.get(name, "")
        if not value:
            raise ApiError(400, missing)
        return value

    def number(self, name: str, default: int, least: int, most: int | None = None) -> int:
        """Return a whole number within its bounds."""
        text = self.request.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
            raise ApiError(400, f"Invalid {name}")
        value = int(text)
        if value < least or (most is not None and value > most):
            raise ApiError(400, f"Invalid {name}")
        return value

    def ids(self, most: int) -> list[str]:
        """Return the identifiers of a batch."""
        found = self.text("ids", "Missing required field: ids").split(",")
        if len(found) > most:
            raise ApiError(400, "Too many ids requested")
        if not all(is_base62(each) for each in found):
            raise ApiError(400, "Invalid base62 id")
        return found

    def identifier(self) -> str:
        """Return the identifier in the path."""
        if not is_base62(self.parts["id"]):
            raise ApiError(400, "Invalid base62 id")
        return self.parts["id"]

    def page(
        self,
        items: Sequence[_Item],
        render: Callable[[_Item], Any],
        *,
        default: int = 20,
        most: int = 50,
        deepest: int | None = None,
    ) -> Json:
        """Return a page of `items` with the addresses of its neighbours.

        Parameters
        ----------
        default, most : int
            Items per page.
        deepest : int or None
            The largest offset.
        """
        limit = self.number("limit", default, 1, most)
        offset = self.number("offset", 0, 0, deepest)
        total = len(items)
        return {
            "href": self.address(offset=offset, limit=limit),
            "items": [render(item) for item in items[offset : offset + limit]],
            "limit": limit,
            "next": self.address(offset=offset + limit, limit=limit) if offset + limit < total else None,
            "offset": offset,
            "previous": self.address(offset=max(offset - limit, 0), limit=limit) if offset > 0 else None,
            "total": total,
        }

    def address(self, **changed: object) -> str:
        """Return the request's own address with other parameters."""
        kept = {name: value for name, value in self.request.query.items() if name not in _POSITIONS}
        return f"{self.base_url}{self.request.path}?{urlencode(kept | changed)}"

    def _market(self) -> str | None:
        market = self.request.query.get("market")
        if market is None:
            return None
        if market not in MARKETS and market != "from_token":
            raise ApiError(400, "Invalid market code")
        return self.user.country if self.user else market


_POSITIONS = frozenset({"offset", "limit", "after", "before"})


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: where it is, who may ask, and how long the answer may be kept.

    Attributes
    ----------
    pattern : str
        A path with names in braces, each for one part.
    scopes : tuple of str
        All that the token must have been granted.
    needs_user : bool
        Whether an application's own token is refused.
    in_development : bool
        Whether development mode still has it.
    kept_as : str
        Which `max_age_seconds` holds for its answers.
    """

    pattern: str
    answer: Callable[[Call], Json]
    scopes: tuple[str, ...] = ()
    needs_user: bool = False
    in_development: bool = True
    kept_as: Literal["catalogue", "personal"] = "catalogue"

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parts of a path that fits."""
        wanted, found = self.pattern.split("/"), path.split("/")
        if len(wanted) != len(found):
            return None
        parts = {}
        for pattern, part in zip(wanted, found, strict=True):
            if pattern.startswith("{") and part:
                parts[pattern[1:-1]] = part
            elif pattern != part:
                return None
        return parts
