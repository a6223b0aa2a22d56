"""The Spotify Web API: answers, pages, several ids; complete or not at all, at the speed that the quota allows."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from collectors_dagster.clock import AsyncClock
from collectors_dagster.errors import (
    CollectorsError,
    IncompleteResponseError,
    SpotifyRejectedError,
    SpotifyUnavailableInModeError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.capabilities import BATCH, Kind, Profile, feature_of, lacking, profile_of
from collectors_dagster.integrations.spotify.memory import ClientMemory, ForgetfulMemory, JsonObject
from collectors_dagster.integrations.spotify.options import ClientOptions
from collectors_dagster.integrations.spotify.paging import START, Page, PageRequest, Position
from collectors_dagster.integrations.spotify.response_cache import ByteCache, Kept, ResponseCache
from collectors_dagster.integrations.spotify.sending import Sender, SuspectedClosedError
from collectors_dagster.integrations.spotify.tokens import AccessTokens
from collectors_dagster.integrations.spotify.transport import SERVICE, Reply, Transport
from collectors_dagster.integrations.spotify.usage import Usage
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.patterns.window_limiter import WindowStatus

T = TypeVar("T")

_log = get_logger(__name__)
_SEGMENT = r"(?:[A-Za-z0-9_~-]|%[0-9A-Fa-f]{2})(?:[A-Za-z0-9_.~-]|%[0-9A-Fa-f]{2})*"
_PATH = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_DEFAULT_OPTIONS = ClientOptions()
_FORGETFUL = ForgetfulMemory()
_PROBE_ARTIST = "0TnOYISbd1XYRBk9myaseg"
"""Any artist will do: that of the documentation's examples."""
PROBES: tuple[tuple[str, dict[str, str | int]], ...] = (
    ("artists", {"ids": _PROBE_ARTIST}),
    ("browse/new-releases", {"limit": 1}),
)
"""One request each: several ids, new releases."""


def _anything(document: JsonObject) -> None:
    """Accept any answer."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, and how it was come by."""

    document: JsonObject
    body: bytes
    not_modified: bool


class SpotifyClient:
    """Asks the Web API in one user's name; an asynchronous context manager, for the coroutines of one event loop.

    Parameters
    ----------
    tokens : AccessTokens
        Of the user, or of the application.
    tenant : str
        Whose client it is: circuits, capabilities and cached answers are the tenant's own. The rate limit is the
        developer account's, which tenants may share.
    user : str
        Separates cached answers of users; a name without secrets.
    random : callable
        Like ``random.Random().random``: the jitter.
    store : SharedStore
        Where window, bans and circuits lie.
    memory : ClientMemory
        Where the learned limit, bans and capabilities are remembered over the end of `store`.
    cache : ByteCache or None
        Where answers are kept; ``None``: nowhere.
    urgent : bool
        For what is lost when it is asked for too late: goes first, and may use what is kept of the window for it.

    Attributes
    ----------
    usage : Usage
        What was asked and saved.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        *,
        tenant: str,
        clock: AsyncClock,
        random: Callable[[], float],
        store: SharedStore,
        user: str = "app",
        options: ClientOptions = _DEFAULT_OPTIONS,
        memory: ClientMemory = _FORGETFUL,
        cache: ByteCache | None = None,
        urgent: bool = False,
    ) -> None:
        self.usage = Usage()
        self.options = options
        self.tenant = tenant
        self._clock = clock
        self._memory = memory
        self._transport = Transport(options, clock=clock)
        self._sender = Sender(
            self._transport,
            tokens,
            options,
            tenant=tenant,
            clock=clock,
            random=random,
            store=store,
            memory=memory,
            urgent=urgent,
            usage=self.usage,
        )
        self._cache = ResponseCache(cache, tenant=tenant, user=user, clock=clock, keep_seconds=options.keep_seconds)
        self._profile: Profile | None = None

    async def __aenter__(self) -> Self:
        await self._sender.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sender.close()
        await self._transport.__aexit__(kind, error, trace)

    async def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, revalidate: bool = False
    ) -> JsonObject:
        """Return what lies at `path`, relative to the API's root: ``playlists/<id>``.

        Parameters
        ----------
        revalidate : bool
            Ask even where an earlier answer is still valid.

        Raises
        ------
        SpotifyPutOffError
            If the account is banned for longer than is waited: within moments, and nothing is lost.
        SpotifyUnavailableInModeError
            If the application's quota mode lacks this.
        IntegrationError
            For everything else: refused (4xx), or failed after all repetitions.
        """
        return (await self._fetch(path, params or {}, revalidate=revalidate)).document

    async def pages(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        limit: int,
        start: Position | None = None,
        key: str | None = None,
        revalidate: bool = False,
    ) -> AsyncGenerator[Page, None]:
        """Yield the pages of a list in order, from `start` on; those by offset are read ahead.

        Parameters
        ----------
        limit : int
            Items asked for on a page; Spotify may give fewer, and then goes on from there.
        key : str or None
            Under which the page lies in the answer, e.g. ``artists`` of ``me/following``.

        Raises
        ------
        IncompleteResponseError
            If pages hold less than they say, after all repetitions.
        UnexpectedResponseError
            If a page's ``next`` leads elsewhere or nowhere.
        """
        request = PageRequest(path, self.options.api_url, start or START, limit, key)
        ask = _Asking(self, dict(params or {}), revalidate=revalidate)
        page = await ask.page(request)
        yield page
        if page.by_cursor:
            async with aclosing(ask.by_cursor(request, page)) as rest:
                async for page in rest:
                    yield page
        elif not page.last:
            async with aclosing(ask.ahead(request, page, self.options.in_flight)) as rest:
                async for page in rest:
                    yield page

    async def many(self, kind: Kind, ids: Sequence[str]) -> AsyncGenerator[tuple[str, JsonObject | None], None]:
        """Yield each id with what it names, in the order given; ``None`` for one that Spotify does not know.

        Several are asked for at once where the quota mode allows it, and one by one otherwise.
        """
        done = 0
        if await self._batches(kind, ids):
            size = BATCH[kind]
            parts = [ids[at : at + size] for at in range(0, len(ids), size)]
            asked = _ordered((self._batch(kind, part) for part in parts), self.options.in_flight)
            try:
                async with aclosing(asked):
                    async for found in asked:
                        for each in found:
                            yield each
                        done += len(found)
            except SpotifyUnavailableInModeError:
                _log.info("spotify_mode_changed", tenant=self.tenant, kind=kind, asking="one by one")
        asked_singly = _ordered((self._single(kind, each) for each in ids[done:]), self.options.in_flight)
        async with aclosing(asked_singly):
            async for found_one in asked_singly:
                yield found_one

    async def capabilities(self, *, fresh: bool = False) -> Profile:
        """Return what the application may use; what is not known, or older than a day, is tried with one request each.

        Parameters
        ----------
        fresh : bool
            Try everything.
        """
        profile = await self._known_profile()
        for path, params in PROBES:
            feature = feature_of(path, params) or ""
            if fresh or profile.available(feature, self._clock.now()) is None:
                try:
                    await self._fetch(path, params, revalidate=True, probe=True)
                except SpotifyUnavailableInModeError:
                    continue
        return await self._known_profile()

    async def status(self) -> WindowStatus:
        """Look at the account's rate limit and ban; sends nothing."""
        return await self._sender.status()

    # --- one answer ------------------------------------------------------------------------------------------

    async def _fetch(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        revalidate: bool = False,
        probe: bool = False,
        check: Callable[[JsonObject], object] = _anything,
    ) -> Fetched:
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is no path of the Web API: relative, and other signs written as %XX")
        feature = feature_of(path, params)
        if feature is not None and not probe:
            profile = await self._known_profile()
            if profile.available(feature, self._clock.now()) is False:
                raise _unavailable(path, feature, 403)
        url = self._transport.url(path, params)
        kept = await self._kept(str(url), check)
        if kept is not None and not revalidate and self._cache.fresh(kept[0]):
            self.usage.cache_hits += 1
            return Fetched(kept[1], kept[0].body, not_modified=True)
        reply = await self._reply(path, params, feature, kept[0].etag if kept else None, check)
        return await self._kept_anew(path, str(url), reply, kept)

    async def _reply(
        self,
        path: str,
        params: Mapping[str, str | int],
        feature: str | None,
        etag: str | None,
        check: Callable[[JsonObject], object],
    ) -> Reply:
        """Send, and learn from the answer what the application may use."""

        def checked(reply: Reply) -> None:
            if reply.document is not None:
                check(reply.document)

        url = self._transport.url(path, params)
        try:
            reply = await self._sender.send(path, url, etag, checked, may_be_closed=feature is not None)
        except SuspectedClosedError:
            await self._saw(str(feature), available=False)
            raise _unavailable(path, str(feature), 429) from None
        except SpotifyRejectedError as error:
            lacked = lacking(path, params, error.status, str(error))
            if lacked is None:
                raise
            if lacked == feature:
                await self._saw(feature, available=False)
            raise _unavailable(path, lacked, error.status) from error
        if feature is not None:
            await self._saw(feature, available=True)
        return reply

    async def _kept(self, url: str, check: Callable[[JsonObject], object]) -> tuple[Kept, JsonObject] | None:
        """Return what was answered earlier, if it is whole."""
        kept = await self._cache.load(url)
        document = kept.document() if kept else None
        if kept is None or document is None:
            return None
        try:
            check(document)
        except CollectorsError:
            return None
        return kept, document

    async def _kept_anew(self, path: str, url: str, reply: Reply, kept: tuple[Kept, JsonObject] | None) -> Fetched:
        if reply.body is not None and reply.document is not None:
            await self._cache.save(url, body=reply.body, etag=reply.etag, max_age_seconds=reply.max_age_seconds)
            return Fetched(reply.document, reply.body, not_modified=False)
        if kept is None:
            raise IncompleteResponseError(f"{path}: unchanged since never", service=SERVICE, operation=path)
        before, document = kept
        self.usage.not_modified += 1
        etag = reply.etag or before.etag
        await self._cache.save(url, body=before.body, etag=etag, max_age_seconds=reply.max_age_seconds)
        return Fetched(document, before.body, not_modified=True)

    # --- several ids -----------------------------------------------------------------------------------------

    async def _batches(self, kind: Kind, ids: Sequence[str]) -> bool:
        """Say whether several ids may be asked for at once; if that is not known, the first request will tell."""
        profile = await self._known_profile()
        return bool(ids) and profile.available(f"batch_{kind}", self._clock.now()) is not False

    async def _batch(self, kind: Kind, ids: Sequence[str]) -> list[tuple[str, JsonObject | None]]:
        def check(document: JsonObject) -> None:
            found = document.get(kind)
            if not isinstance(found, list) or len(found) != len(ids):
                raise IncompleteResponseError(
                    f"{kind}: an answer without one entry for each of {len(ids)} ids", service=SERVICE, operation=kind
                )
            if not all(each is None or isinstance(each, dict) for each in found):
                raise IncompleteResponseError(
                    f"{kind}: an answer with strange entries", service=SERVICE, operation=kind
                )

        try:
            fetched = await self._fetch(kind, {"ids": ",".join(ids)}, check=check)
        except SpotifyRejectedError as error:
            # Closed to several, or a wrong id? If the first one is answered by itself, it is not the ids.
            if error.status != 400 or (await self._single(kind, ids[0]))[1] is None:
                raise
            await self._saw(f"batch_{kind}", available=False)
            raise _unavailable(kind, f"batch_{kind}", error.status) from error
        return list(zip(ids, fetched.document[kind], strict=True))

    async def _single(self, kind: Kind, name: str) -> tuple[str, JsonObject | None]:
        try:
            return name, await self.get(f"{kind}/{name}")
        except SpotifyRejectedError as error:
            if error.status not in {400, 404} or isinstance(error, SpotifyUnavailableInModeError):
                raise
            return name, None

    # --- capabilities ----------------------------------------------------------------------------------------

    async def _known_profile(self) -> Profile:
        if self._profile is None:
            self._profile = profile_of(await asyncio.to_thread(self._memory.load, "mode", self.tenant))
        return self._profile

    async def _saw(self, feature: str, *, available: bool) -> None:
        """Remember what was seen, if it is news."""
        profile, now = await self._known_profile(), self._clock.now()
        if profile.available(feature, now) is available:
            return
        self._profile = profile.with_seen(feature, available, now)
        await asyncio.to_thread(self._memory.save, "mode", self.tenant, self._profile.as_dict())


class _Asking:
    """One list's pages, as they are asked for."""

    def __init__(self, client: SpotifyClient, params: dict[str, str | int], *, revalidate: bool) -> None:
        self._client = client
        self._params = params
        self._revalidate = revalidate

    async def page(self, request: PageRequest) -> Page:
        def check(document: JsonObject) -> None:
            request.read(document, b"", not_modified=False)

        params = {**self._params, **request.params()}
        fetched = await self._client._fetch(  # noqa: SLF001 - a part of the client
            request.path, params, revalidate=self._revalidate, check=check
        )
        return request.read(fetched.document, fetched.body, not_modified=fetched.not_modified)

    async def by_cursor(self, request: PageRequest, page: Page) -> AsyncGenerator[Page, None]:
        """Yield the pages after `page`, one after the other: each tells where the next one begins."""
        seen = {page.position.after}
        while not page.last:
            following = PageRequest(
                request.path, request.base_url, page.position, request.limit, request.key, by_cursor=True
            )
            page = await self.page(following)
            if not page.last and page.position.after in seen:
                raise _looping(request.path)
            seen.add(page.position.after)
            yield page

    async def ahead(self, request: PageRequest, page: Page, most: int) -> AsyncGenerator[Page, None]:
        """Yield the pages after `page`, several under way at once where the length of the list is known."""
        reading: deque[asyncio.Task[Page]] = deque()
        following, last, step = page.position.offset, page, len(page.items)
        try:
            while reading or not last.last:
                ahead = most if last.total is not None else 1
                while len(reading) < ahead and (not last.last if last.total is None else following < last.total):
                    at = PageRequest(
                        request.path, request.base_url, Position(following), step, request.key, by_cursor=False
                    )
                    reading.append(asyncio.create_task(self.page(at)))
                    following += step
                if not reading:
                    break
                last = await reading.popleft()
                yield last
                if not last.last and last.position.offset != last.offset + step:
                    await _stopped(reading)  # it was shorter than the ones before: those after it begin too late
                    reading.clear()
                    following, step = last.position.offset, len(last.items)
        finally:
            await _stopped(reading)


async def _ordered(asked: Iterable[Coroutine[Any, Any, T]], most: int) -> AsyncGenerator[T, None]:
    """Yield results in order, the first one by itself, and then so many under way at once."""
    waiting: deque[asyncio.Task[T]] = deque()
    coming = iter(asked)
    alone = True
    try:
        while True:
            for coroutine in coming:
                waiting.append(asyncio.create_task(coroutine))
                if len(waiting) >= (1 if alone else most):
                    break
            if not waiting:
                return
            alone = False
            yield await waiting.popleft()
    finally:
        await _stopped(waiting)


async def _stopped(tasks: deque[asyncio.Task[T]]) -> None:
    """Cancel what nobody will wait for any more, and wait until it has let go."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _unavailable(path: str, feature: str, status: int) -> SpotifyUnavailableInModeError:
    return SpotifyUnavailableInModeError(
        f"{path}: {feature} is not available in this mode: the application's quota mode lacks it",
        operation=path,
        status=status,
        feature=feature,
    )


def _looping(path: str) -> CollectorsError:
    return UnexpectedResponseError(f"{path}: its cursors go in a circle", service=SERVICE, operation=path)
