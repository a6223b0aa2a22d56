"""The token endpoint: three ways of asking for tokens. One request per call; who calls decides about repetitions."""

import base64
from collections.abc import Mapping
from urllib.parse import quote_plus

from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.config.spotify import SpotifyApplication
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.integrations.spotify.oauth.answers import TokenAnswer, read_tokens, refusal
from collectors_dagster.integrations.spotify.oauth.asking import TIMEOUT_SECONDS, ask


class TokenEndpoint:
    """``/api/token`` of the accounts service, asked by one application.

    A confidential client (with a secret) authenticates by HTTP Basic, a public one names itself in the form (RFC 6749,
    2.3.1 and 3.2.1).
    """

    def __init__(
        self, application: SpotifyApplication, clock: Clock, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._application = application
        self._clock = clock
        self._timeout = timeout_seconds

    def client_credentials(self) -> TokenAnswer:
        """Return a token of the application itself (RFC 6749, 4.4).

        Raises
        ------
        ConfigurationError
            If the application has no secret.
        IntegrationError
            If none was given.
        """
        if self._application.client_secret is None:
            raise ConfigurationError(
                "spotify.client_secret: an application reads the catalogue only with its secret; set it "
                "(SPOTIFY_CLIENT_SECRET, or sources.spotify.client_secret beside the tenant's client_id)"
            )
        return self._asked("a token of the application", {"grant_type": "client_credentials"}, ())

    def refresh(self, refresh_token: SecretStr) -> TokenAnswer:
        """Return new tokens for a refresh token (RFC 6749, 6), which may be worth nothing afterwards."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.get_secret_value(),
            "client_id": self._application.client_id,
        }
        return self._asked("a refreshed token", form, (refresh_token,))

    def exchange(self, code: SecretStr, verifier: SecretStr, redirect_uri: str) -> TokenAnswer:
        """Return the first tokens for what a user's consent brought (RFC 6749, 4.1.3; RFC 7636, 4.5)."""
        form = {
            "grant_type": "authorization_code",
            "code": code.get_secret_value(),
            "redirect_uri": redirect_uri,
            "client_id": self._application.client_id,
            "code_verifier": verifier.get_secret_value(),
        }
        return self._asked("tokens for a consent", form, (code, verifier))

    def _asked(self, operation: str, form: Mapping[str, str], sent: tuple[SecretStr, ...]) -> TokenAnswer:
        secret = self._application.client_secret
        reply = ask(
            "POST",
            f"{self._application.accounts_url}/api/token",
            operation=operation,
            headers={} if secret is None else {"Authorization": _basic(self._application.client_id, secret)},
            form=form,
            timeout_seconds=self._timeout,
        )
        if reply.status == 200:
            return read_tokens(reply.body, operation)
        raise refusal(
            reply.status,
            reply.body,
            operation,
            retry_after=reply.pause_seconds(self._clock.now()),
            sent=sent if secret is None else (*sent, secret),
        )


def _basic(client_id: str, secret: SecretStr) -> str:
    """Return the value of ``Authorization``; both parts are form-encoded first (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret.get_secret_value())}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
