"""How one request gets its answer: circuit, repetitions, a slot in the window, the token, bans.

``repeat while the circuit is open | repeat failures | circuit | slot, token, attempt``. A refusal because of the limit
(429) is no failure: it is told to the window, which all processes share, and the request waits for its turn again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import httpx

from collectors_dagster.clock import AsyncClock
from collectors_dagster.errors import (
    CircuitOpenError,
    CollectorsError,
    IncompleteResponseError,
    IntegrationError,
    PolicyError,
    RateLimitedError,
    RateLimitExceededError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    SpotifyPutOffError,
)
from collectors_dagster.integrations.spotify.capabilities import family_of
from collectors_dagster.integrations.spotify.memory import ClientMemory, JsonObject
from collectors_dagster.integrations.spotify.options import ClientOptions
from collectors_dagster.integrations.spotify.tokens import AccessTokens
from collectors_dagster.integrations.spotify.transport import (
    NotSentError,
    QuotaError,
    RefusedError,
    Reply,
    TokenRejectedError,
    Transport,
)
from collectors_dagster.integrations.spotify.usage import Usage
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns import BreakerPolicy, CircuitBreaker, Outcome, Policy, Retry, RetryPolicy
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.patterns.window_limiter import NOTHING, Knowledge, WindowLimiter, WindowStatus
from collectors_dagster.patterns.window_rules import Outcome as SlotOutcome
from collectors_dagster.patterns.window_rules import Reason

_log = get_logger(__name__)

MOST_REFUSALS = 4
"""So often one request waits after a 429 before it is put off."""
CLOSED_AFTER = 2
"""So many 429s of an endpoint that has never answered mean that it is closed, where nothing else was refused."""
_CIRCUIT_WAITS = 6
_WORTH_REPEATING = (ServiceFailedError, ServiceTimeoutError, ServiceUnreachableError, IncompleteResponseError)


class SuspectedClosedError(RateLimitedError):
    """Only this endpoint refuses, from its first request on: some closed ones answer 429 for ever."""


class Sender:
    """Sends requests of one client under its policies."""

    def __init__(
        self,
        transport: Transport,
        tokens: AccessTokens,
        options: ClientOptions,
        *,
        tenant: str,
        clock: AsyncClock,
        random: Callable[[], float],
        store: SharedStore,
        memory: ClientMemory,
        urgent: bool,
        usage: Usage,
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._options = options
        self._tenant = tenant
        self._clock = clock
        self._random = random
        self._store = store
        self._memory = memory
        self._urgent = urgent
        self._usage = usage
        self._policies: dict[str, Policy] = {}
        self._answered: set[str] = set()
        self._places = asyncio.Semaphore(options.in_flight)
        self._account = tokens.account.replace("{", "(").replace("}", ")")
        self._limiter: WindowLimiter | None = None
        self._saving = asyncio.Lock()

    async def open(self) -> None:
        """Recall what is known of the account."""
        document = await asyncio.to_thread(self._memory.load, "limit", self._account)
        self._limiter = WindowLimiter(
            self._account,
            self._options.window,
            store=self._store,
            clock=self._clock,
            known=knowledge_of(document, self._options),
            urgent=self._urgent,
        )

    async def close(self) -> None:
        """Remember what was learned."""
        if self._limiter is not None and self._limiter.known != NOTHING:
            await self._remember(self._limiter.known)

    async def status(self) -> WindowStatus:
        """Look at the account's window."""
        return await self._window.status()

    async def send(
        self, path: str, url: httpx.URL, etag: str | None, check: Callable[[Reply], None], *, may_be_closed: bool
    ) -> Reply:
        """Return the answer.

        Parameters
        ----------
        check : callable
            Raises for an answer that counts for nothing.
        may_be_closed : bool
            Whether the endpoint is one that some applications may not use.

        Raises
        ------
        SpotifyPutOffError
            If nothing may be sent for longer than is waited.
        SuspectedClosedError
            If only this endpoint refuses.
        CollectorsError
            Of the kind that the last attempt met.
        """
        attempts = 0

        async def attempt() -> Reply:
            nonlocal attempts
            attempts += 1
            self._usage.retries += attempts > 1
            return await self._answer(path, url, etag, check, may_be_closed=may_be_closed)

        return await self._policy(family_of(path)).acall(attempt)

    @property
    def _window(self) -> WindowLimiter:
        if self._limiter is None:
            raise RuntimeError("a Spotify client is used within its `async with`")
        return self._limiter

    def _policy(self, family: str) -> Policy:
        found = self._policies.get(family)
        if found is None:
            options = self._options
            failures = options.circuit_failures
            breaker = CircuitBreaker(
                f"spotify.{family}",
                BreakerPolicy(
                    failures,
                    options.circuit_seconds,
                    window_calls=max(10, failures),
                    lease_seconds=options.circuit_seconds,  # others look again as soon
                ),
                classify=_meaning,
                clock=self._clock,
                store=self._store,
                tenant=self._tenant,
            )
            repeated = RetryPolicy(
                options.attempts, options.base_seconds, options.cap_seconds, options.deadline_seconds
            )
            waiting = RetryPolicy(
                1 + _CIRCUIT_WAITS, options.base_seconds, options.cap_seconds, options.deadline_seconds
            )
            found = self._policies[family] = Policy(
                Retry(waiting, retry_on=_circuit_open, clock=self._clock, random=self._random),
                Retry(repeated, retry_on=_worth_repeating, clock=self._clock, random=self._random),
                breaker,
            )
        return found

    async def _answer(
        self, path: str, url: httpx.URL, etag: str | None, check: Callable[[Reply], None], *, may_be_closed: bool
    ) -> Reply:
        """Send until there is an answer that is neither 429 nor an expired token."""
        refusals, rejected, family = 0, False, family_of(path)
        async with self._places:
            while True:
                suspect = may_be_closed and family not in self._answered
                try:
                    reply = await self._in_turn(path, url, etag, suspect=suspect)
                    check(reply)
                except RateLimitExceededError as error:
                    if self._window.ban_seconds() > self._options.window.longest_wait_seconds + 1:
                        raise self._put_off(path) from error
                except RefusedError as error:
                    refusals += 1
                    if suspect and self._answered and refusals >= CLOSED_AFTER and not isinstance(error, QuotaError):
                        raise _suspected(path) from None
                    if refusals > MOST_REFUSALS:
                        raise self._put_off(path) from None
                except TokenRejectedError:
                    if rejected:
                        raise
                    rejected = True
                else:
                    self._answered.add(family)
                    return reply

    async def _in_turn(self, path: str, url: httpx.URL, etag: str | None, *, suspect: bool) -> Reply:
        """Make one attempt with a slot of the window, which is settled however it ends."""
        window = self._window
        try:
            slot = await window.take()
        finally:
            self._usage.waited_seconds = window.waited_seconds
        outcome, pause, reason = SlotOutcome.UNUSED, None, Reason.NONE
        try:
            token = await self._tokens.token()
            window.check()
            self._usage.requests += 1
            outcome = SlotOutcome.UNCERTAIN
            reply = await self._transport.get(path, url, token, etag)
            outcome = SlotOutcome.ACCEPTED
        except RefusedError as error:
            outcome, pause = SlotOutcome.REJECTED, error.retry_after_seconds
            reason = Reason.UNKNOWN if suspect else Reason.RATE  # of a closed endpoint no limit can be learned
            reason = Reason.QUOTA if isinstance(error, QuotaError) else reason
            self._usage.rate_limited += 1
            raise
        except TokenRejectedError:
            outcome = SlotOutcome.ACCEPTED
            await self._tokens.rejected(token)
            raise
        except NotSentError:
            outcome = SlotOutcome.UNUSED
            raise
        except IntegrationError as error:
            if outcome is SlotOutcome.UNCERTAIN and not error.transient:
                outcome = SlotOutcome.ACCEPTED
            raise
        finally:
            before = window.known.banned_until
            await window.settle(slot, outcome, pause_seconds=pause, reason=reason)
            if outcome is SlotOutcome.REJECTED and window.known.banned_until != before:
                self._usage.bans += 1
            news = window.news()
            if news is not None:
                await self._remember(news)
        return reply

    def _put_off(self, path: str) -> SpotifyPutOffError:
        known = self._window.known
        now = self._clock.now()
        until = known.banned_until if known.banned_until and known.banned_until > now else now + timedelta(seconds=60)
        reason = known.reason.name.lower() if known.reason else "unknown"
        return SpotifyPutOffError(
            f"{path}: Spotify wants no request of developer account {self._account!r} before "
            f"{until.isoformat(timespec='seconds')} ({reason}); what was read is kept, come again then",
            operation=path,
            until=until,
            reason=reason,
            retry_after_seconds=(until - now).total_seconds(),
        )

    async def _remember(self, known: Knowledge) -> None:
        async with self._saving:
            document = document_of(known, self._options)
            try:
                await asyncio.to_thread(self._memory.save, "limit", self._account, document)
            except CollectorsError as error:
                _log.warning("spotify_limit_not_remembered", account=self._account, error=str(error))


def document_of(known: Knowledge, options: ClientOptions) -> JsonObject:
    """Return what is known of an account as JSON."""
    return {
        "window_seconds": options.window.window_seconds,
        "limit": known.limit,
        "proven": known.proven,
        "learned_at": known.learned_at.isoformat() if known.learned_at else None,
        "banned_until": known.banned_until.isoformat() if known.banned_until else None,
        "reason": known.reason.name.lower(),
    }


def knowledge_of(document: JsonObject | None, options: ClientOptions) -> Knowledge:
    """Read it again; what cannot be read, and a limit of another window, is not known."""
    if document is None:
        return NOTHING
    known = NOTHING
    until = _instant(document.get("banned_until"))
    reason = document.get("reason")
    if until is not None:
        names = {each.name.lower(): each for each in Reason}
        known = replace(known, banned_until=until, reason=names.get(str(reason), Reason.UNKNOWN) or Reason.UNKNOWN)
    limit, proven = _whole(document.get("limit")), _whole(document.get("proven"))
    if document.get("window_seconds") == options.window.window_seconds:
        known = replace(known, limit=limit, proven=proven, learned_at=_instant(document.get("learned_at")))
    return known


def _suspected(path: str) -> SuspectedClosedError:
    return SuspectedClosedError(
        f"{path}: only this endpoint refuses, from the first request on", service="spotify", operation=path
    )


def _whole(value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**6
    return cast("int", value) if whole else 0


def _instant(text: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant is not None and instant.tzinfo is not None else None


def _meaning(error: Exception) -> Outcome:
    """Say what an error means for a circuit: limits and refusals are answers, our own policies mean nothing."""
    if isinstance(error, PolicyError | RateLimitedError):
        return Outcome.IGNORED
    return Outcome.FAILURE if isinstance(error, _WORTH_REPEATING) else Outcome.SUCCESS


def _worth_repeating(error: Exception) -> bool:
    return isinstance(error, _WORTH_REPEATING)


def _circuit_open(error: Exception) -> bool:
    return isinstance(error, CircuitOpenError)
