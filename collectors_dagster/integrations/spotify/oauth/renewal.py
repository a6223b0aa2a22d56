"""Renewing tokens: one request for all processes, and no answer used before it is stored.

The rule, for one owner of tokens:

1. Read the vault. A token that is good for a while is the answer, whoever got it.
2. Claim the right to ask, naming the version that was read. Of all processes one gets it; the others read again.
3. Ask. The claim ends by itself a little later than the request can last, so that nobody sends a refresh token while
   another request with it may be under way.
4. Store the answer under the version that was read; only then hand it out.

A process that dies before 3 leaves nothing behind but a claim that ends. One that dies after 4 has stored everything.
An answer that has arrived is written to this machine's disk (:mod:`.journal`) before the database is asked to take it:
what dies, or stays away, between 3 and 4 costs nothing, if a process of the same data directory comes after it. What
is left is an answer that is still on its way when the process dies: the next process tries the refresh token that it
knows, which some services take for a while yet, and otherwise says that the user has to consent again, and why. Such
a conclusion is undone by an answer that comes to light later.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.errors import (
    CircuitOpenError,
    CollectorsError,
    ConsentNeededError,
    RateLimitedError,
    ServiceTimeoutError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.answers import TokenAnswer, TokenRefusedError
from collectors_dagster.integrations.spotify.oauth.asking import TIMEOUT_SECONDS
from collectors_dagster.integrations.spotify.oauth.consent import ConsentPhase, consent_ends, consent_phase
from collectors_dagster.integrations.spotify.oauth.endpoint import TokenEndpoint
from collectors_dagster.integrations.spotify.oauth.journal import TokenJournal
from collectors_dagster.integrations.spotify.oauth.vault import (
    AccountState,
    Claim,
    Stored,
    TokenOwner,
    Tokens,
    TokenVault,
)
from collectors_dagster.patterns import CircuitBreaker, Retry, RetryPolicy

MARGIN_SECONDS = 60.0
MOST_JITTER_SECONDS = 30.0
MARGIN_SHARE = 0.25
"""Of a token's life: one that lives for less than four margins is used for three quarters of it."""
CLAIM_SECONDS = TIMEOUT_SECONDS + 5.0
"""Longer than a request can last: what a killed process sent has been answered by then, or never will be."""
LATE_SECONDS = 3.0
"""A process that was stopped for so long since it claimed asks nothing: somebody else may soon."""
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 30.0
"""How long to wait for others who ask."""

_OPERATION = "renew tokens"
_ASKING = RetryPolicy(attempts=4, base_seconds=0.5, cap_seconds=8.0, deadline_seconds=30.0)
_STORING = RetryPolicy(attempts=6, base_seconds=0.2, cap_seconds=4.0, deadline_seconds=20.0)


@dataclass(frozen=True, slots=True)
class Held:
    """An access token that is stored, and until when it may be used."""

    token: SecretStr
    use_until: datetime


class Renewal:
    """Gets tokens for one owner. Blocks; for one thread at a time.

    Parameters
    ----------
    client_id : str
        The application that asks; an account that consented to another one has to consent again.
    breaker : CircuitBreaker
        Of the accounts service.
    random : callable
        Like ``random.Random().random``.
    claim_seconds : float
        Longer than a request can last.
    journal : TokenJournal, optional
        Where an answer is written down until the vault has it.
    """

    def __init__(
        self,
        owner: TokenOwner,
        client_id: str,
        *,
        vault: TokenVault,
        endpoint: TokenEndpoint,
        breaker: CircuitBreaker,
        clock: Clock,
        random: Callable[[], float],
        claim_seconds: float = CLAIM_SECONDS,
        journal: TokenJournal | None = None,
    ) -> None:
        self._owner = owner
        self._client_id = client_id
        self._vault = vault
        self._endpoint = endpoint
        self._breaker = breaker
        self._clock = clock
        self._random = random
        self._claim_seconds = claim_seconds
        self._journal = journal
        self._asking = Retry(_ASKING, retry_on=_worth_asking_again, clock=clock, random=random)
        self._storing = Retry(_STORING, retry_on=_is_transient, clock=clock, random=random)
        self._unsaved: tuple[Claim, Tokens] | None = None

    def run(self, refused: SecretStr | None = None) -> Held:
        """Return a token that is stored and good for a while.

        Parameters
        ----------
        refused : SecretStr, optional
            A token that the API refused, however long it should have lived.

        Raises
        ------
        ConsentNeededError
            If only the user can help.
        IntegrationError
            If the accounts service does not give one.
        """
        return self._asking.call(self._once, refused)

    def _once(self, refused: SecretStr | None) -> Held:
        """Return a token, with at most one request for it."""
        patience = self._clock.monotonic() + PATIENCE_SECONDS
        self._save()
        self._recover()
        while True:
            stored = self._stored()
            held = self._held(stored, refused)
            if held is not None:
                return held
            self._check(stored)
            claimed_at = self._clock.boottime()
            claim = self._vault.claim(self._owner, stored.version, self._claim_seconds)
            if claim is not None and self._clock.boottime() - claimed_at > LATE_SECONDS:
                self._vault.end(self._owner, claim, answered=not claim.interrupted)
            elif claim is not None:
                held = self._ask(stored, claim)
                if held is not None:
                    return held
            elif self._clock.monotonic() >= patience:
                text = f"{SERVICE}: another process has asked for tokens for {PATIENCE_SECONDS:g} s without an end"
                raise ServiceTimeoutError(text, service=SERVICE, operation=_OPERATION)
            else:
                self._clock.sleep(POLL_SECONDS)

    def _stored(self) -> Stored:
        stored = self._vault.read(self._owner)
        if not self._owner.is_user and (stored is None or stored.client_id != self._client_id):
            self._vault.introduce(self._owner.tenant_id, self._client_id)
            stored = self._vault.read(self._owner)
        if stored is None or stored.state is AccountState.LEAVING:
            raise self._consent_needed("is not connected")
        if stored.client_id != self._client_id:
            raise self._consent_needed("is connected with another application than the one that is configured now")
        if stored.state is AccountState.NEEDS_CONSENT:
            raise self._consent_needed(f"needs consent: {stored.reason}")
        return stored

    def _held(self, stored: Stored, refused: SecretStr | None) -> Held | None:
        if stored.access_token is None or stored.issued_at is None or stored.expires_at is None:
            return None
        if stored.access_token == refused:
            return None
        use_until = self._use_until(stored.issued_at, stored.expires_at)
        return Held(stored.access_token, use_until) if self._clock.now() < use_until else None

    def _use_until(self, issued_at: datetime, expires_at: datetime) -> datetime:
        margin = MARGIN_SECONDS + self._random() * MOST_JITTER_SECONDS
        life = (expires_at - issued_at).total_seconds()
        return expires_at - timedelta(seconds=min(margin, life * MARGIN_SHARE))

    def _check(self, stored: Stored) -> None:
        """Refuse to ask where asking cannot help, or not yet."""
        now = self._clock.now()
        if stored.not_before is not None and now < stored.not_before:
            raise RateLimitedError(
                f"{SERVICE}: asked us to come back at {stored.not_before:%Y-%m-%d %H:%M:%S} UTC",
                service=SERVICE,
                operation=_OPERATION,
                retry_after_seconds=(stored.not_before - now).total_seconds(),
            )
        if not self._owner.is_user or stored.consented_at is None:
            return
        if consent_phase(stored.consented_at, now) is ConsentPhase.ENDED:
            reason = f"consent ended on {consent_ends(stored.consented_at):%Y-%m-%d}, six months after it was given"
            if self._vault.expire(self._owner, stored.version, reason):
                raise self._consent_needed(f"needs consent: {reason}")

    def _ask(self, stored: Stored, claim: Claim) -> Held | None:
        """Ask once, and store what is answered; None if meanwhile somebody else stored something newer."""
        asked_at = self._clock.now()
        try:
            answer = self._breaker.call(self._request, stored)
        except TokenRefusedError as error:
            if error.error == "invalid_grant" and self._owner.is_user:
                self._refused(claim)
                return None
            self._end(claim, error)
            raise
        except CollectorsError as error:
            self._end(claim, error)
            raise
        tokens = _tokens(answer, asked_at)
        self._unsaved = (claim, tokens)
        if self._journal is not None:
            self._journal.keep(self._owner, claim, tokens)
        if not self._save():
            return None
        return Held(tokens.access_token, self._use_until(tokens.issued_at, tokens.expires_at))

    def _request(self, stored: Stored) -> TokenAnswer:
        if not self._owner.is_user:
            return self._endpoint.client_credentials()
        if stored.refresh_token is None:
            text = "the service gave no refresh token when the user consented"
            raise TokenRefusedError(text, operation=_OPERATION, error="invalid_grant")
        return self._endpoint.refresh(stored.refresh_token)

    def _refused(self, claim: Claim) -> None:
        """Note that the refresh token is dead, unless somebody has stored a newer one since: then return."""
        reason = "the service does not take the refresh token any more: it was revoked, replaced or too old"
        if claim.interrupted:
            reason = "an earlier request got no whole answer, and with it the next refresh token was lost"
        if self._vault.refuse(self._owner, claim, reason):
            raise self._consent_needed(f"needs consent: {reason}")

    def _save(self) -> bool:
        """Store an answer, if there is one: before it is used, and however long the database was away.

        Returns whether it is what the vault holds now.
        """
        if self._unsaved is None:
            return False
        claim, tokens = self._unsaved
        stored = self._into_vault(claim, tokens)
        self._unsaved = None
        return stored

    def _recover(self) -> None:
        """Store what processes before this one had written down and could not store any more."""
        for claim, tokens in () if self._journal is None else self._journal.pending(self._owner):
            self._into_vault(claim, tokens)

    def _into_vault(self, claim: Claim, tokens: Tokens) -> bool:
        """Store an answer; False if it is older than what is there. Either way it need not be kept elsewhere."""
        stored = self._storing.call(self._vault.store, self._owner, claim, tokens)
        if self._journal is not None:
            self._journal.drop(self._owner, claim)
        return stored

    def _end(self, claim: Claim, error: CollectorsError) -> None:
        """Let others ask. If the database is away the claim ends by itself, and what went wrong before is the news.

        Whether an answer was lost stays on record until the service says something about the refresh token itself.
        """
        answered = not claim.interrupted and not _is_ambiguous(error)
        pause = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
        not_before = None if pause is None else self._clock.now() + timedelta(seconds=pause)
        with contextlib.suppress(CollectorsError):
            self._vault.end(self._owner, claim, answered=answered, not_before=not_before)

    def _consent_needed(self, what: str) -> ConsentNeededError:
        tenant, user = self._owner.tenant_id, self._owner.user_id
        return ConsentNeededError(
            f"tenant {tenant}: Spotify account {user} {what}; `collectors spotify connect --tenant {tenant}`",
            service=SERVICE,
            operation=_OPERATION,
            tenant=tenant,
            user_id=user,
        )


def _tokens(answer: TokenAnswer, asked_at: datetime) -> Tokens:
    """Return an answer as it is stored; its life counts from the question, which is never too late."""
    return Tokens(
        access_token=answer.access_token,
        issued_at=asked_at,
        expires_at=asked_at + timedelta(seconds=answer.lifetime_seconds),
        refresh_token=answer.refresh_token,
        scopes=answer.scopes,
    )


def _is_ambiguous(error: CollectorsError) -> bool:
    """Say whether the service may have acted although no good answer came."""
    if isinstance(error, CircuitOpenError | RateLimitedError):
        return False
    return error.transient or isinstance(error, UnexpectedResponseError)


def _is_transient(error: Exception) -> bool:
    return isinstance(error, CollectorsError) and error.transient


def _worth_asking_again(error: Exception) -> bool:
    return isinstance(error, CollectorsError) and (_is_ambiguous(error) or isinstance(error, RateLimitedError))
