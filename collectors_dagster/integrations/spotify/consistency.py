"""Lists that change while they are paged: read again until two looks at their version agree, or said to be unstable.

A song that is moved from page 7 to page 2 while page 5 is read would be lost, and one that is moved down would be there
twice. So the version of a list (a playlist's ``snapshot_id``; of lists without one, its length and first page) is read
before and after its pages. Where the two differ, the pages are read again, and those that moved are given again.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from collectors_dagster.errors import IncompleteResponseError
from collectors_dagster.integrations.spotify.client import SpotifyClient
from collectors_dagster.integrations.spotify.memory import JsonObject
from collectors_dagster.integrations.spotify.paging import Page, Position

MOST_ROUNDS = 4
"""The first reading, and three more."""
PLAYLIST_LIMIT = 50
"""Items on a page of ``playlists/{id}/items``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read.

    Attributes
    ----------
    stable : bool
        Whether version and pages belong together.
    unchanged : bool
        Whether it is the version that was known, so that no page was read.
    version : str
        The last one seen.
    total : int
        Items in the list; pages given before that begin at or after it are no part of it any more.
    rounds : int
        How often the list was read.
    reason : str or None
        Why it is not stable, in words.
    """

    stable: bool
    unchanged: bool
    version: str
    total: int
    rounds: int
    reason: str | None = None


class ConsistentRead:
    """Pages of a list of one version: iterate over it once, then look at :attr:`verdict`.

    A page whose offset came before takes the place of that one.

    Parameters
    ----------
    version : callable
        Asks for the list's present version.
    before : str
        Its version when the reading begins.
    known_version : str or None
        If it is still `before`, there is nothing to read.
    start : Position or None
        Where an earlier reading stopped; of another version it means nothing, and the reading begins at the beginning.
    whole : Page or None
        The whole list, if it came as one page with `before`: one answer is of one moment, and nothing is asked again.

    Attributes
    ----------
    verdict : Verdict or None
        ``None`` as long as pages come.
    restarted : bool
        Whether `start` was of another version: what was stored up to it is of no use.
    """

    def __init__(
        self,
        client: SpotifyClient,
        path: str,
        params: Mapping[str, str | int],
        *,
        limit: int,
        version: Callable[[], Awaitable[str]],
        before: str,
        known_version: str | None = None,
        start: Position | None = None,
        whole: Page | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._params = params
        self._limit = limit
        self._version = version
        self._seen = [before]
        self._unchanged = before == known_version
        self._whole = whole
        self.restarted = start is not None and start.version != before
        self._start = None if self.restarted else start
        self._digests: dict[int, str] = {}
        self._totals: set[int | None] = set()
        self.verdict: Verdict | None = None

    def __aiter__(self) -> AsyncIterator[Page]:
        return self._pages()

    async def _pages(self) -> AsyncGenerator[Page, None]:
        if self._unchanged:
            self.verdict = Verdict(stable=True, unchanged=True, version=self._seen[-1], total=0, rounds=0)
            return
        if self._whole is not None:
            total = len(self._whole.items)
            yield self._whole.with_version(self._seen[-1])
            self.verdict = Verdict(stable=True, unchanged=False, version=self._seen[-1], total=total, rounds=1)
            return
        for round_ in range(1, MOST_ROUNDS + 1):
            self._totals.clear()
            async for page in self._round():
                yield page
            now = await self._version()
            if now == self._seen[-1] and len(self._totals) == 1:
                self.verdict = Verdict(stable=True, unchanged=False, version=now, total=self._total(), rounds=round_)
                return
            self._seen.append(now)
            self._start = None
        seen = " > ".join(_short(each) for each in self._seen)
        reason = f"it changed while it was read, {MOST_ROUNDS} times in a row: versions {seen}"
        self.verdict = Verdict(
            stable=False,
            unchanged=False,
            version=self._seen[-1],
            total=self._total(),
            rounds=MOST_ROUNDS,
            reason=reason,
        )

    async def _round(self) -> AsyncGenerator[Page, None]:
        """Read all pages once; give those that are not as they were."""
        pages = self._client.pages(self._path, self._params, limit=self._limit, start=self._start, revalidate=True)
        try:
            async for page in pages:
                self._totals.add(page.total)
                if self._digests.get(page.offset) != page.digest:
                    self._digests[page.offset] = page.digest
                    yield page.with_version(self._seen[-1])
        finally:
            await pages.aclose()

    def _total(self) -> int:
        return max((total for total in self._totals if total is not None), default=0)


async def playlist_read(
    client: SpotifyClient,
    playlist_id: str,
    *,
    known_version: str | None = None,
    start: Position | None = None,
    params: Mapping[str, str | int] | None = None,
) -> tuple[JsonObject, ConsistentRead]:
    """Return a playlist's own data, and its items to be read; nothing to be read if its version is `known_version`.

    One request; the items follow while one iterates.

    Parameters
    ----------
    params : mapping, optional
        For the items, e.g. ``{"market": "DE"}``.
    """
    path = f"playlists/{playlist_id}"
    fields: dict[str, str | int] = {"fields": "id,name,description,public,collaborative,owner,snapshot_id,uri,images"}

    async def ask() -> JsonObject:
        return await client.get(path, fields, revalidate=True)

    async def version() -> str:
        return snapshot_of(await ask(), path)

    playlist = await ask()
    before = snapshot_of(playlist, path)
    read = ConsistentRead(
        client,
        f"{path}/items",
        params or {},
        limit=PLAYLIST_LIMIT,
        version=version,
        before=before,
        known_version=known_version,
        start=start,
    )
    return playlist, read


async def list_read(
    client: SpotifyClient,
    path: str,
    params: Mapping[str, str | int] | None = None,
    *,
    limit: int,
    known_version: str | None = None,
    start: Position | None = None,
) -> ConsistentRead:
    """Return a list without versions of its own, to be read; its length and first page stand for its version."""

    async def ask() -> Page:
        pages = client.pages(path, params, limit=limit, revalidate=True)
        try:
            return await anext(pages)
        finally:
            await pages.aclose()

    async def version() -> str:
        return _version_of(await ask())

    first = await ask()
    before = _version_of(first)
    return ConsistentRead(
        client,
        path,
        params or {},
        limit=limit,
        version=version,
        before=before,
        known_version=known_version,
        start=start,
        whole=first if first.last else None,
    )


def _version_of(first: Page) -> str:
    return f"{first.total}:{first.digest}"


def snapshot_of(playlist: JsonObject, path: str) -> str:
    """Return a playlist's version.

    Raises
    ------
    IncompleteResponseError
        If there is none: nothing could be said about its pages.
    """
    snapshot = playlist.get("snapshot_id")
    if not isinstance(snapshot, str) or not snapshot:
        raise IncompleteResponseError(f"{path}: a playlist without snapshot_id", service="spotify", operation=path)
    return snapshot


def _short(version: str) -> str:
    return version if len(version) <= 16 else f"{version[:16]}..."
