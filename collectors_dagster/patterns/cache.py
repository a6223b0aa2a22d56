"""Cache-aside: look, load what is missing, store it, return it; and let nobody load what another one is loading.

In a process one caller of a key goes and the others wait for it (:mod:`collectors_dagster.patterns.flights`); in the
fleet a lease in the store says who loads (:mod:`collectors_dagster.patterns.cache_rules`). What is still good is
loaded anew a little early by one caller (XFetch, Vattani et al., VLDB 2015), what is not good any more is given for a
while as long as a new one is being loaded or loading fails (RFC 5861). While the store is away, copies in this process,
single flight and the load itself go on.
"""

from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, wraps
from inspect import iscoroutinefunction
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.errors import DeadlineExceededError, SharedStateUnavailableError
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.cache_codecs import ValueCodec
from collectors_dagster.patterns.cache_entry import Entry, mark_of
from collectors_dagster.patterns.cache_keys import KeyOf, argument_key, checked_key
from collectors_dagster.patterns.cache_policy import NO_HISTORY, CachePolicy, refresh_early
from collectors_dagster.patterns.cache_rules import Claim
from collectors_dagster.patterns.deadline import beyond_deadline, remaining_seconds
from collectors_dagster.patterns.entry_store import EntryStore, Taken
from collectors_dagster.patterns.flights import Flights, Landing, Seat
from collectors_dagster.patterns.lease_keeper import KEEPER, LeaseKeeper
from collectors_dagster.patterns.local_copies import Copy, LocalCopies
from collectors_dagster.patterns.metrics import UNCOUNTED
from collectors_dagster.patterns.observers import MetricsSink
from collectors_dagster.patterns.plans import Call, Errand, Pause, Plan, Start, Wait, aperform, perform
from collectors_dagster.patterns.policy import Invocation, Layer, Policy, works_later
from collectors_dagster.patterns.shared_state import SharedStore

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

POLL_SECONDS = (0.02, 0.2)
"""Pauses of who waits for another process's load: the first, and the longest after doubling; up to half less."""
AWAY_SECONDS = 0.5
"""For so long a copy that is still good is believed while the store is away, before anybody asks again."""

BACKGROUND_LEASE_SECONDS = 60.0
BACKGROUND_LEASE_LOADS = 3.0
"""A load in the background is let be by others for so long at most, or for so many times what the last one took, even
if its process has died: meanwhile a copy answers. Shorter, and what slow loads bring would always come too late."""

log = get_logger("cache")


class _Answer(NamedTuple):
    """An entry, and how it came: ``hit``, ``stale`` or ``miss``."""

    entry: Entry
    result: str


@dataclass(slots=True)
class _Asked:
    """One caller's question, and what must be given back if it is stopped."""

    key: str
    load: Callable[[], Any]
    tags: tuple[str, ...]
    seat: Seat[_Answer] | None = None
    token: str = ""
    leased: bool = False
    """Whether the lease of `token` may be held, and it is this one's to give it back."""


@dataclass(slots=True)
class _Refresh:
    """A load in the background, which nobody waits for."""

    cache: "Cache[Any]"
    asked: _Asked
    known: Copy

    def run(self) -> None:
        self.cache._refresh(self)  # noqa: SLF001 - a part of it

    async def arun(self) -> None:
        await self.cache._arefresh(self)  # noqa: SLF001 - a part of it


_Hold = Callable[[_Asked, Copy | None], Callable[[], None] | None]
"""Keeps a lease while its holder loads; gives what ends that."""


class Cache(Generic[T]):
    """What is kept of loads, by key. Safe to share between threads, event loops and forked processes.

    Parameters
    ----------
    name : str
        Of what is kept, e.g. ``artists``: keys of different caches do not meet, but share the tenant's size.
    codec : ValueCodec
        ``JSON``, ``BYTES`` or your own. A value is the same whether it was loaded or found, and a new one each time.
    random : callable
        Like ``random.Random().random``: for jitter, early refreshes and pauses.
    tenant : str
        Whose it is; empty for what belongs to the whole deployment.
    copies : LocalCopies or None
        Shared by the caches of a process, so that they are bounded together; ``None``: its own.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.cache_codecs import JSON
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> clock = ManualClock()
    >>> cache = Cache("artists", CachePolicy(), codec=JSON, store=MemoryStore(clock), clock=clock, random=lambda: 0.0)
    >>> cache.get("4Z8W", lambda: {"name": "Radiohead"}), cache.get("4Z8W", lambda: {"name": "another"})
    ({'name': 'Radiohead'}, {'name': 'Radiohead'})
    """

    def __init__(
        self,
        name: str,
        policy: CachePolicy,
        *,
        codec: ValueCodec[T],
        store: SharedStore,
        clock: Clock,
        random: Callable[[], float],
        tenant: str = "",
        copies: LocalCopies | None = None,
        metrics: MetricsSink = UNCOUNTED,
        keeper: LeaseKeeper = KEEPER,
    ) -> None:
        self.name = name
        self.policy = policy
        self._codec = codec
        self._store = store
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._keeper = keeper
        self._entries = EntryStore(
            name,
            store=store,
            clock=clock,
            tenant=tenant,
            limits=policy.limits,
            copies=copies,
            metrics=metrics,
            early_refresh_beta=policy.early_refresh_beta,
            read=codec.loads,
        )
        self._mine = self._entries.mine
        self._flights: Flights[_Answer] = Flights()
        self._refreshes: Flights[_Answer] = Flights()

    # --- asking ------------------------------------------------------------------------------------------------

    def get(self, key: str, load: Callable[[], T | None], *, tags: Iterable[str] = ()) -> T | None:
        """Return what is kept under `key`, or load and keep it.

        Parameters
        ----------
        load : callable
            ``None`` from it means that there is none, which is remembered for ``negative_seconds``.
        tags : iterable of str
            Names by which entries can be dropped together.

        Raises
        ------
        Exception
            What `load` raises, if nothing older may be used; those who wait for the same load get the same.
        TypeError
            If the codec cannot write what was loaded.
        """
        found = self._at_hand(key)
        if found is not None:
            return self._read(found)
        asked = _Asked(checked_key(key), load, tuple(tags))
        try:
            return self._read(perform(self._answer(asked), self._store, self._clock))
        finally:
            if self._left(asked):
                with beyond_deadline():
                    perform(self._entries.released(key, asked.token), self._store, self._clock)

    async def aget(
        self, key: str, load: Callable[[], Coroutine[Any, Any, T | None]], *, tags: Iterable[str] = ()
    ) -> T | None:
        """Return what is kept under `key`, or await and keep it; see :meth:`get`. A cancelled load is another's."""
        found = self._at_hand(key)
        if found is not None:
            return self._read(found)
        asked = _Asked(checked_key(key), load, tuple(tags))
        try:
            return self._read(await aperform(self._answer(asked), self._store, self._async_clock()))
        finally:
            if self._left(asked):
                await self._given_back(asked)

    def keyed(self, key: KeyOf, *, tags: Callable[..., Iterable[str]] | None = None) -> "Keyed":
        """Return a layer and decorator that makes the key, and the tags, from the arguments of what is called.

        Examples
        --------
        ::

            @cache.keyed(lambda artist_id: artist_id, tags=lambda artist_id: ("artists",))
            def artist(artist_id): ...
        """
        return Keyed(cast("Cache[Any]", self), key, tags)

    def at(self, key: str, *, tags: Iterable[str] = ()) -> "Keyed":
        """Return a layer for one key: ``timeout | retry | cache.at("charts")``."""
        fixed = tuple(tags)
        return Keyed(cast("Cache[Any]", self), lambda *_, **__: key, lambda *_, **__: fixed)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine; its name and arguments are the key.

        Raises
        ------
        TypeError
            If they do not say all that it loads (:func:`~collectors_dagster.patterns.cache_keys.argument_key`).
        """
        return Keyed(cast("Cache[Any]", self), argument_key(function))(function)

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], R], /) -> R:
        """As a layer: the key is made of the name and the arguments of what the policy calls."""
        return Keyed(cast("Cache[Any]", self), self._key_of(operation)).call(operation)

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, R]], /) -> R:
        """As a layer, awaiting."""
        return await Keyed(cast("Cache[Any]", self), self._key_of(operation)).acall(operation)

    @staticmethod
    def _key_of(operation: Callable[[], Any]) -> KeyOf:
        return _key_of(operation.function if isinstance(operation, Invocation) else operation)

    # --- dropping ----------------------------------------------------------------------------------------------

    def invalidate(self, key: str) -> bool:
        """Drop an entry; what is being loaded for it now is not kept either.

        Returns
        -------
        bool
            ``False``: the store is away. It is dropped in this process, and in the store as soon as that is back.
        """
        return self._dropped(key, perform(self._entries.dropped(key), self._store, self._clock))

    async def ainvalidate(self, key: str) -> bool:
        """Drop an entry, awaiting."""
        return self._dropped(key, await aperform(self._entries.dropped(key), self._store, self._async_clock()))

    def invalidate_tag(self, tag: str) -> bool:
        """Drop all entries with a tag."""
        return self._dropped(None, perform(self._entries.dropped_tag(tag), self._store, self._clock))

    async def ainvalidate_tag(self, tag: str) -> bool:
        """Drop all entries with a tag, awaiting."""
        return self._dropped(None, await aperform(self._entries.dropped_tag(tag), self._store, self._async_clock()))

    def invalidate_all(self) -> bool:
        """Drop all that this cache keeps for its tenant."""
        return self._dropped(None, perform(self._entries.dropped_tag(None), self._store, self._clock))

    async def ainvalidate_all(self) -> bool:
        """Drop all that this cache keeps for its tenant, awaiting."""
        return self._dropped(None, await aperform(self._entries.dropped_tag(None), self._store, self._async_clock()))

    def _dropped(self, key: str | None, done: bool) -> bool:  # noqa: FBT001 - passed on
        """Let nobody who comes from now on wait for a load that began before."""
        if key is None:
            self._flights.detach_all()
            self._refreshes.detach_all()
        else:
            self._flights.detach(key)
            self._refreshes.detach(key)
        return done

    # --- one caller's way --------------------------------------------------------------------------------------

    def _at_hand(self, key: str) -> Entry | None:
        """Return this process's copy if nothing at all has to be decided: the short way, on which most callers go."""
        copy = self._mine.get((self.name, key))
        if copy is None:
            return None
        now = self._clock.monotonic()
        if now >= copy.believed_until or now >= copy.early_from:
            return None
        entry = copy.entry
        result = "hit" if entry.value is not None else "negative"
        self._metrics.count("collectors_cache_requests_total", entry.tier, result)
        return entry

    def _answer(self, asked: _Asked) -> Errand[Entry]:
        """Answer one caller, and count it."""
        try:
            answer = yield from self._answered(asked)
        except Exception:
            self._metrics.count("collectors_cache_requests_total", self.policy.tier, "error")
            raise
        self._count(answer.entry, answer.result)
        return answer.entry

    def _answered(self, asked: _Asked) -> Errand[_Answer]:
        copy = self._mine.get(self._entries.key(asked.key))
        if copy is not None and self._clock.monotonic() < copy.believed_until:
            return (yield from self._hit(asked, copy))
        seat = asked.seat = self._flights.join(asked.key)
        asked.token = seat.token
        while not seat.leads:
            if seat.landing is not None:
                return _brought(seat.landing)
            if remaining_seconds() <= 0:
                late = f"the cache {self.name!r} was loading when the caller's time was over"
                return self._instead(copy, DeadlineExceededError(late))
            yield Wait(seat)
        try:
            answer = yield from self._led(asked)
        except Exception as error:
            self._flights.land(seat, Landing(error=error))
            raise
        self._flights.land(seat, Landing(answer))
        return answer

    def _led(self, asked: _Asked) -> Errand[_Answer]:
        """Find an answer for all who wait for this one."""
        patience = self._clock.monotonic() + self.policy.max_wait_seconds
        pause, longest = POLL_SECONDS
        claim = Claim.IF_DUE
        while True:
            asked.leased = True  # from here on it may be
            taken = yield from self._entries.taken(asked.key, asked.token, claim)
            asked.leased = taken.granted or not taken.shared
            known = taken.copy if taken.shared else self._mine.get(self._entries.key(asked.key))
            now = self._clock.monotonic()
            if known is not None and not taken.granted and now < known.fresh_until:
                if not taken.shared:
                    known.believed_until = min(now + AWAY_SECONDS, known.fresh_until)
                return (yield from self._hit(asked, known))
            if known is not None and now < known.fresh_until + self.policy.stale_while_revalidate_seconds:
                return (yield from self._given_stale(asked, known, taken))
            if taken.granted or not taken.shared:
                return (yield from self._loaded(asked, known, self._renewed if taken.shared else None))
            if now >= patience:
                claim = Claim.OVER
                continue
            try:
                yield Pause(min(pause * (1 - self._random() / 2), max(patience - now, 0.001)))
            except DeadlineExceededError as error:
                return self._instead(known, error)
            pause = min(2 * pause, longest)

    def _hit(self, asked: _Asked, copy: Copy) -> Errand[_Answer]:
        """Answer with what is good; now and then let a new one be loaded before it is not."""
        left = copy.fresh_until - self._clock.monotonic()
        if refresh_early(copy.entry.load_seconds, left, self.policy.early_refresh_beta, self._random()):
            yield from self._begun(asked, copy, token="")
        return _Answer(copy.entry, "hit")

    def _given_stale(self, asked: _Asked, known: Copy, taken: Taken) -> Errand[_Answer]:
        """Answer with what was good a moment ago; who may load lets that be done in the background."""
        asked.leased = False  # it goes to whoever loads
        if taken.granted or not taken.shared:
            begun = yield from self._begun(asked, known, token=asked.token if taken.granted else "")
            if taken.granted and not begun:
                yield from self._entries.released(asked.key, asked.token)
        return _Answer(known.entry, "stale")

    def _begun(self, asked: _Asked, known: Copy, *, token: str) -> Errand[bool]:
        """Have a new one loaded in the background, unless that is under way in this process."""
        seat = self._refreshes.join(asked.key)
        if not seat.leads:
            self._refreshes.leave(seat)
            return False
        given = _Asked(asked.key, asked.load, asked.tags, seat, token or seat.token, leased=bool(token))
        begun = yield Start(_Refresh(cast("Cache[Any]", self), given, known))
        if not begun:
            self._refreshes.leave(seat)
        return bool(begun)

    def _loaded(self, asked: _Asked, known: Copy | None, hold: _Hold | None) -> Errand[_Answer]:
        """Load, keep and return; or return what was known before, if loading fails and that may be.

        `hold` keeps the lease meanwhile; ``None``: there is none, the store is away.
        """
        generation, began, shared = self._entries.generation, self._clock.monotonic(), hold is not None
        let_go = hold(asked, known) if hold is not None else None
        try:
            value = yield Call(asked.load)
            entry = self._entry(value, known, self._clock.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - it is raised again, or what was known before is the answer
            if shared:
                yield from self._entries.released(asked.key, asked.token)
            asked.leased = False
            return self._instead(known, error)
        finally:
            if let_go is not None:
                let_go()
        self._metrics.observe("collectors_cache_load_seconds", entry.tier, value=entry.load_seconds)
        yield from self._stored(asked, entry, generation, shared=shared)
        asked.leased = False
        return _Answer(entry, "miss")

    def _stored(self, asked: _Asked, entry: Entry, generation: int, *, shared: bool) -> Plan[None]:
        fresh = self.policy.spread(self._fresh_seconds(entry), self._random())
        if not fresh:
            if shared:
                yield from self._entries.released(asked.key, asked.token)
            return
        yield from self._entries.kept(
            asked.key,
            entry,
            fresh_seconds=fresh,
            kept_seconds=fresh + (self.policy.stale_seconds if entry.value is not None else 0.0),
            tags=asked.tags,
            token=asked.token if shared else "",
            generation=generation,
            shared=shared,
        )

    def _instead(self, known: Copy | None, error: Exception) -> _Answer:
        """Return what was known before, if it may be used for this error."""
        now = self._clock.monotonic()
        usable = known is not None and now < known.fresh_until + self.policy.stale_if_error_seconds
        if known is None or not usable or not self.policy.stale_on(error):
            raise error
        log.warning("stale_answer", cache=self.name, error=type(error).__name__)
        return _Answer(known.entry, "stale")

    # --- refreshes ---------------------------------------------------------------------------------------------

    def _refresh(self, job: _Refresh) -> None:
        with beyond_deadline():
            try:
                perform(self._refreshed(job, self._held), self._store, self._clock)
            except Exception as error:  # noqa: BLE001 - the next caller loads, and gets the error
                log.info("refresh_failed", cache=self.name, error=type(error).__name__)
            finally:
                self._refreshes.leave(cast("Seat[_Answer]", job.asked.seat))
                if job.asked.leased:
                    perform(self._entries.released(job.asked.key, job.asked.token), self._store, self._clock)

    async def _arefresh(self, job: _Refresh) -> None:
        with beyond_deadline():
            try:
                await aperform(self._refreshed(job, self._renewed), self._store, self._async_clock())
            except Exception as error:  # noqa: BLE001 - as above
                log.info("refresh_failed", cache=self.name, error=type(error).__name__)
            finally:
                self._refreshes.leave(cast("Seat[_Answer]", job.asked.seat))
                if job.asked.leased:
                    await self._given_back(job.asked)

    def _refreshed(self, job: _Refresh, hold: _Hold) -> Errand[None]:
        asked, shared = job.asked, True
        if not asked.leased:
            asked.leased = True
            taken = yield from self._entries.taken(asked.key, asked.token, Claim.ALWAYS)
            asked.leased, shared = taken.granted, taken.shared
            newer = taken.copy is not None and taken.copy.stored_at > job.known.stored_at + 0.001
            if (shared and not taken.granted) or newer:
                return  # another one has loaded it, or does
            self._metrics.count("collectors_cache_early_refresh_total")
        yield from self._loaded(asked, job.known, hold if shared else None)

    # --- small parts -------------------------------------------------------------------------------------------

    def _entry(self, value: T | None, known: Copy | None, load_seconds: float) -> Entry:
        body = None if value is None else self._codec.dumps(value)
        mark = mark_of(body)
        history = NO_HISTORY
        if known is not None:
            seconds = self._clock.monotonic() - known.stored_at
            history = known.entry.history.after(changed=mark != known.entry.mark, seconds=seconds)
        tier = self.policy.tier_of(self.policy.fresh_seconds(history))
        return Entry(body, tier, load_seconds, history, mark)

    def _fresh_seconds(self, entry: Entry) -> float:
        seconds = self.policy.fresh_seconds(entry.history)
        return min(seconds, self.policy.negative_seconds) if entry.value is None else seconds

    def _read(self, entry: Entry) -> T | None:
        return None if entry.value is None else self._codec.loads(entry.value)

    def _count(self, entry: Entry, result: str) -> None:
        negative = entry.value is None and result == "hit"
        self._metrics.count("collectors_cache_requests_total", entry.tier, "negative" if negative else result)

    def _renewed(self, asked: _Asked, known: Copy | None) -> Callable[[], None]:
        """Renew a lease until the load has ended: callers may wait for it, and a successor must not wait longer."""
        seconds = self.policy.limits.lease_seconds

        def renew() -> None:
            self._entries.renew(asked.key, asked.token, seconds)

        return self._keeper.keep(renew, every_seconds=seconds / 3)

    def _held(self, asked: _Asked, known: Copy | None) -> None:
        """Prolong a lease once, for a load in the thread of the background, which then needs no second thread.

        As long as the copy answers, nobody waits for the load, nor for a successor if this process is killed.
        """
        seconds = self.policy.limits.lease_seconds
        if known is not None:
            answered = known.fresh_until + self.policy.stale_while_revalidate_seconds - self._clock.monotonic()
            longest = max(BACKGROUND_LEASE_SECONDS, BACKGROUND_LEASE_LOADS * known.entry.load_seconds)
            seconds = max(seconds, min(answered, longest))
        with suppress(SharedStateUnavailableError):
            self._entries.renew(asked.key, asked.token, seconds)

    def _left(self, asked: _Asked) -> bool:
        """Leave the flight; return whether the lease is to be given back, because nobody goes on with it."""
        if asked.seat is None:
            return False
        led, landed = asked.seat.leads, asked.seat.landing is not None
        abandoned = self._flights.leave(asked.seat)
        return asked.leased and led and (abandoned or landed)

    async def _given_back(self, asked: _Asked) -> None:
        import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

        with beyond_deadline():
            released = self._entries.released(asked.key, asked.token)
            await asyncio.shield(aperform(released, self._store, self._async_clock()))

    def _async_clock(self) -> AsyncClock:
        return cast("AsyncClock", self._clock)  # who awaits has made us with a clock that can


class Keyed:
    """A cache together with what makes keys of a call's arguments: a layer of a policy, and a decorator."""

    def __init__(self, cache: Cache[Any], key: KeyOf, tags: Callable[..., Iterable[str]] | None = None) -> None:
        self._cache = cache
        self._key = key
        self._tags = tags or (lambda *_, **__: ())

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], R], /) -> R:
        """Return what is kept for this call, or call `operation` and keep what it returns."""
        arguments, keywords = _arguments(operation)
        tags = self._tags(*arguments, **keywords)
        return cast("R", self._cache.get(self._key(*arguments, **keywords), operation, tags=tags))

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, R]], /) -> R:
        """Return what is kept for this call, or await `operation` and keep what it returns."""
        arguments, keywords = _arguments(operation)
        tags = self._tags(*arguments, **keywords)
        return cast("R", await self._cache.aget(self._key(*arguments, **keywords), operation, tags=tags))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine.

        Raises
        ------
        TypeError
            For a generator or a context manager made of one, whose results cannot be kept.
        """
        if works_later(function):
            raise TypeError(f"{function.__qualname__} is a generator: let it return a list, then that can be kept")

        @wraps(function)
        def kept(*args: Any, **kwargs: Any) -> Any:
            tags = self._tags(*args, **kwargs)
            return self._cache.get(self._key(*args, **kwargs), lambda: function(*args, **kwargs), tags=tags)

        @wraps(function)
        async def akept(*args: Any, **kwargs: Any) -> Any:
            call = cast("Callable[..., Coroutine[Any, Any, Any]]", function)
            tags = self._tags(*args, **kwargs)
            return await self._cache.aget(self._key(*args, **kwargs), lambda: call(*args, **kwargs), tags=tags)

        return cast("Callable[P, R]", akept if iscoroutinefunction(function) else kept)


_key_of = lru_cache(maxsize=1000)(argument_key)


def _brought(landing: Landing[_Answer]) -> _Answer:
    if landing.error is not None:
        raise landing.error
    return cast("_Answer", landing.result)


def _arguments(operation: Callable[[], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (operation.arguments, dict(operation.keywords)) if isinstance(operation, Invocation) else ((), {})
