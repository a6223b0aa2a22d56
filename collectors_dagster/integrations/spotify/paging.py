"""Pages of a list: where one begins, what one must hold, and that ``next`` leads nowhere else.

Spotify's lists come in pages, by offset or by cursor. We make every address ourselves; what the service offers as
``next`` is only checked, because a client that follows it carries its token wherever it is sent. A page that holds less
than it says is no page: it would be a loss that nobody notices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from collectors_dagster.errors import IncompleteResponseError, UnexpectedResponseError
from collectors_dagster.integrations.spotify.memory import JsonObject

SERVICE = "spotify"


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on in a list; store it together with the rows before it.

    Attributes
    ----------
    offset : int
        Items before it.
    after : str or None
        Cursor, in a list that has cursors.
    version : str or None
        Of the list that `offset` counts in, where it has versions (a playlist's ``snapshot_id``).
    """

    offset: int = 0
    after: str | None = None
    version: str | None = None

    def as_dict(self) -> JsonObject:
        """Return it as JSON."""
        return {"offset": self.offset, "after": self.after, "version": self.version}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_dict` gave.

        Raises
        ------
        ValueError
            If it is something else.
        """
        offset, after, version = document.get("offset", 0), document.get("after"), document.get("version")
        texts = all(text is None or isinstance(text, str) for text in (after, version))
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0 or not texts:
            raise ValueError("this is no position in a list of Spotify's")
        return cls(offset, after, version)


START = Position()


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list.

    Attributes
    ----------
    items : list
        As they came; removed ones are ``None``.
    offset : int
        Items of the list before this page.
    total : int or None
        Items of the list, if the service says so.
    position : Position
        After this page.
    digest : str
        SHA-256 of the items' page as it came: equal pages have equal ones.
    not_modified : bool
        Whether the service said that it is the same as last time.
    last : bool
        Whether the list ends here.
    """

    items: list[JsonObject | None]
    offset: int
    total: int | None
    position: Position
    digest: str
    not_modified: bool
    last: bool
    limit: int
    by_cursor: bool

    def with_version(self, version: str) -> "Page":
        """Return it as a page of a certain version of the list."""
        return replace(self, position=replace(self.position, version=version))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a page is asked for with, and what follows from that for its answer.

    Attributes
    ----------
    key : str or None
        Under which the page lies in the answer; ``None``: it is the answer.
    by_cursor : bool or None
        ``None``: not known before the first answer.
    """

    path: str
    base_url: str
    start: Position
    limit: int
    key: str | None = None
    by_cursor: bool | None = None

    def params(self) -> dict[str, str | int]:
        """Return the parameters that choose the page."""
        params: dict[str, str | int] = {"limit": self.limit}
        if self.start.after is not None:
            params["after"] = self.start.after
        elif self.start.offset:
            params["offset"] = self.start.offset
        return params

    def read(self, document: JsonObject, body: bytes, *, not_modified: bool) -> Page:
        """Return the page that an answer holds.

        Raises
        ------
        IncompleteResponseError
            If it holds less than it says, or another page: worth another try.
        UnexpectedResponseError
            If its ``next`` leads to another host, or not forward.
        """
        found = document.get(self.key) if self.key else document
        if not isinstance(found, dict) or not isinstance(found.get("items"), list):
            raise self._incomplete("has no list of items")
        items: list[JsonObject | None] = found["items"]
        if not all(item is None or isinstance(item, dict) for item in items):
            raise self._incomplete("has items that are none")
        cursors = found.get("cursors")
        by_cursor = isinstance(cursors, dict) if self.by_cursor is None else self.by_cursor
        self._check_next(found.get("next"), by_cursor=by_cursor)
        total, limit = _count(found.get("total")), _count(found.get("limit")) or self.limit
        limit = min(limit, self.limit)
        if len(items) > limit:
            raise self._incomplete(f"holds {len(items)} items of {limit} asked for")
        offset = self.start.offset
        if by_cursor:
            after = cursors.get("after") if isinstance(cursors, dict) else None
            last = found.get("next") is None or not isinstance(after, str)
            self._check_end(offset + len(items), total, last=last, after=after)
            position = Position(offset + len(items), None if last else after)
        else:
            after_it = offset + len(items)
            self._check_length(found, len(items), limit, total)
            if items and total is not None and after_it >= total and _offset_of(found.get("next")) is not None:
                raise self._incomplete(f"ends a list of {total} items, but says that more follows")
            last = after_it >= total if total is not None else found.get("next") is None
            position = Position(after_it)
        digest = sha256(body).hexdigest()
        return Page(items, offset, total, position, digest, not_modified, last, limit, by_cursor)

    def _check_length(self, found: JsonObject, length: int, limit: int, total: int | None) -> None:
        told = _count(found.get("offset"))
        if told is not None and told != self.start.offset:
            raise self._incomplete(f"begins at {told} in the place of {self.start.offset}")
        if total is None:
            if length == 0 and found.get("next") is not None:
                raise self._incomplete("is empty, but says that more follows")
            return
        expected = max(0, min(limit, total - self.start.offset))
        follows = _offset_of(found.get("next"))
        if length < expected and not (length and follows == self.start.offset + length):
            raise self._incomplete(f"holds {length} of {expected} items at {self.start.offset} of {total}")

    def _check_end(self, count: int, total: int | None, *, last: bool, after: object) -> None:
        if last and total is not None and count < total:
            raise self._incomplete(f"ends the list after {count} of {total} items")
        if not last and after == self.start.after:
            raise self._refused("its cursor points to itself")

    def _check_next(self, link: object, *, by_cursor: bool) -> None:
        if link is None:
            return
        if not isinstance(link, str):
            raise self._refused("its next is no address")
        try:
            there, here = urlsplit(link), urlsplit(self.base_url)
            same = (there.scheme, there.netloc) == (here.scheme, here.netloc)
        except ValueError:
            same = False
        if not same or not there.path.startswith(here.path.rstrip("/") + "/"):
            raise self._refused("its next leads to another host or place")
        asked = parse_qs(there.query)
        if not by_cursor and "offset" in asked:
            forward = asked["offset"][0]
            if not (forward.isascii() and forward.isdigit()) or int(forward) <= self.start.offset:
                raise self._refused("its next does not lead forward")

    def _incomplete(self, problem: str) -> IncompleteResponseError:
        return IncompleteResponseError(f"{self.path}: a page that {problem}", service=SERVICE, operation=self.path)

    def _refused(self, problem: str) -> UnexpectedResponseError:
        return UnexpectedResponseError(
            f"{self.path}: a page was refused, as {problem}; nothing of it was followed",
            service=SERVICE,
            operation=self.path,
        )


def _offset_of(link: object) -> int | None:
    """Return where the page begins that a ``next`` names."""
    named = parse_qs(urlsplit(link).query).get("offset", [""])[0] if isinstance(link, str) else ""
    return int(named) if named.isascii() and named.isdigit() else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
