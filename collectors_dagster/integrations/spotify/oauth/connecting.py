"""Connecting a user's account: what the user consented to becomes tokens in the vault, under the user's id."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.config.spotify import SpotifyApplication
from collectors_dagster.errors import CollectorsError, UnexpectedResponseError
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.answers import TokenAnswer, refusal
from collectors_dagster.integrations.spotify.oauth.asking import ask
from collectors_dagster.integrations.spotify.oauth.authorization import ConsentRequest
from collectors_dagster.integrations.spotify.oauth.consent import consent_ends
from collectors_dagster.integrations.spotify.oauth.endpoint import TokenEndpoint
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner, Tokens, TokenVault
from collectors_dagster.patterns import Retry, RetryPolicy

_PROFILE = "the profile of the user"
_AGAIN = RetryPolicy(attempts=3, base_seconds=0.5, cap_seconds=4.0, deadline_seconds=20.0)
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Connected:
    """A user who has just consented.

    Attributes
    ----------
    missing : tuple of str
        Scopes that were asked for and not given.
    """

    tenant_id: str
    user_id: str
    scopes: tuple[str, ...]
    missing: tuple[str, ...]
    ends_at: datetime


class Connecting:
    """Turns a user's consent into a connected account of one tenant.

    Parameters
    ----------
    scopes : sequence of str
        What the user is asked for.
    random : callable
        Like ``random.Random().random``.
    """

    def __init__(
        self,
        tenant_id: str,
        application: SpotifyApplication,
        scopes: Sequence[str],
        *,
        vault: TokenVault,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._tenant_id = tenant_id
        self._application = application
        self._asked_for = tuple(scopes)
        self._vault = vault
        self._clock = clock
        self._endpoint = TokenEndpoint(application, clock)
        self._retry = Retry(_AGAIN, retry_on=_is_transient, clock=clock, random=random)

    def redeem(self, request: ConsentRequest, code: SecretStr) -> Connected:
        """Redeem a code, ask whose account it is, and store the tokens.

        A code can be redeemed once: if this fails or the process ends before the tokens are stored, the user is
        asked again, and what was issued is used by nobody.

        Raises
        ------
        IntegrationError
            If the service refuses the code, or its answer is not usable.
        """
        asked_at = self._clock.now()
        answer = self._retry.call(self._endpoint.exchange, code, request.verifier, request.redirect_uri)
        user_id = self._retry.call(self._user_of, answer.access_token)
        return self.store(user_id, answer, asked_at)

    def store(self, user_id: str, answer: TokenAnswer, consented_at: datetime) -> Connected:
        """Store the tokens of a user who consented at `consented_at`."""
        if answer.refresh_token is None:
            text = f"{SERVICE}: gave no refresh token for a consent: nothing could be read after an hour"
            raise UnexpectedResponseError(text, service=SERVICE, operation="connect")
        given = self._asked_for if answer.scopes is None else answer.scopes
        tokens = Tokens(
            access_token=answer.access_token,
            issued_at=consented_at,
            expires_at=consented_at + timedelta(seconds=answer.lifetime_seconds),
            refresh_token=answer.refresh_token,
            scopes=given,
        )
        owner = TokenOwner(self._tenant_id, user_id)
        self._retry.call(self._vault.consent, owner, self._application.client_id, tokens, given, consented_at)
        missing = tuple(scope for scope in self._asked_for if scope not in given)
        return Connected(self._tenant_id, user_id, given, missing, consent_ends(consented_at))

    def _user_of(self, token: SecretStr) -> str:
        """Return the id of the user whose token it is: ``account_id``, which never changes, or else ``id``."""
        reply = ask(
            "GET",
            f"{self._application.api_url}/me",
            operation=_PROFILE,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"},
        )
        if reply.status != 200:
            wait = reply.pause_seconds(self._clock.now())
            raise refusal(reply.status, reply.body, _PROFILE, retry_after=wait, sent=(token,))
        return _user_id(reply.body)


def _user_id(body: bytes) -> str:
    """Return the user's id in a profile; nothing else of it is read."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    found = (values.get("account_id") or values.get("id")) if isinstance(values, dict) else None
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST_ID or not found.isprintable() or " " in found:
        text = f"{SERVICE}: answered {_PROFILE} without a usable id"
        raise UnexpectedResponseError(text, service=SERVICE, operation="connect")
    return found


def _is_transient(error: Exception) -> bool:
    return isinstance(error, CollectorsError) and error.transient
