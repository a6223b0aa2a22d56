"""The accounts service's state: consents, authorization codes and tokens (RFC 6749, RFC 7636). No HTTP here."""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any

from collectors_dagster.sandbox.options import SandboxApp, SandboxOptions
from collectors_dagster.sandbox.shifted_clock import ShiftedClock

SCOPES = frozenset(
    {
        "user-read-private",
        "user-read-email",
        "user-library-read",
        "user-follow-read",
        "user-top-read",
        "user-read-recently-played",
        "playlist-read-private",
        "playlist-read-collaborative",
        "user-read-playback-state",
        "user-read-currently-playing",
        "user-read-playback-position",
    }
)
"""What a consent may cover: the scopes that read."""

_CODE_BYTES = 96
_TOKEN_BYTES = 96


class GrantError(Exception):
    """A refusal of the token endpoint, in the words of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code; it can be redeemed once."""

    client_id: str
    user_id: str
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str
    expires_at: float


@dataclass(slots=True)
class Grant:
    """A user's consent to one application; `refresh_token` is the one that is valid now.

    Attributes
    ----------
    rotates : bool
        Obtained without the application's secret (PKCE): each refresh gives a new refresh token and ends the old one.
    """

    client_id: str
    user_id: str
    scopes: frozenset[str]
    consented_at: float
    rotates: bool
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an access token stands for; without a user it opens the catalogue only."""

    client_id: str
    user_id: str | None
    scopes: frozenset[str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class TokenReply:
    """What the token endpoint answers."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: frozenset[str]
    refresh_token: str | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return it as the service writes it."""
        found: dict[str, Any] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }
        if self.refresh_token is not None:
            found["refresh_token"] = self.refresh_token
        return found | ({"scope": " ".join(sorted(self.scopes))} if self.scopes else {})


class Accounts:
    """Issues, rotates and ends tokens. One thread uses it, so that of many refreshes with one token one wins."""

    def __init__(self, options: SandboxOptions, clock: ShiftedClock) -> None:
        self._options = options
        self._clock = clock
        self._apps = {app.client_id: app for app in options.apps}
        self._codes: dict[str, Code] = {}
        self._grants: dict[str, Grant] = {}
        self._tokens: dict[str, AccessToken] = {}
        self._rotated: set[str] = set()
        self.rotated_reuse = 0
        if options.state_file is not None:
            self._load(options.state_file)

    def app(self, client_id: str) -> SandboxApp:
        """Return a registered application.

        Raises
        ------
        GrantError
            If there is none.
        """
        found = self._apps.get(client_id)
        if found is None:
            raise GrantError("invalid_client", "Invalid client")
        return found

    def authenticated(self, client_id: str, client_secret: str) -> SandboxApp:
        """Return the application whose credentials these are.

        Raises
        ------
        GrantError
            If they are nobody's.
        """
        app = self.app(client_id)
        if not compare_digest(client_secret.encode(), app.client_secret.encode()):
            raise GrantError("invalid_client", "Invalid client secret")
        return app

    def consent(self, app: SandboxApp, user_id: str, scopes: Iterable[str], redirect_uri: str, challenge: str) -> str:
        """Return an authorization code for a user who said yes."""
        code = _random("AQ", _CODE_BYTES)
        expires_at = self._now() + self._options.code_seconds
        self._codes[code] = Code(app.client_id, user_id, frozenset(scopes), redirect_uri, challenge, expires_at)
        return code

    def redeem(
        self, client_id: str, code: str, redirect_uri: str, verifier: str | None, *, with_secret: bool
    ) -> TokenReply:
        """Exchange a code for tokens; `verifier` is PKCE's, `with_secret` says that the application showed its secret.

        Raises
        ------
        GrantError
            If the code is unknown, used, too old, or of another application, address or verifier.
        """
        found = self._codes.pop(code, None)
        if found is None or found.client_id != client_id:
            raise GrantError("invalid_grant", "Invalid authorization code")
        if self._now() >= found.expires_at:
            raise GrantError("invalid_grant", "Authorization code expired")
        if redirect_uri != found.redirect_uri:
            raise GrantError("invalid_grant", "Invalid redirect URI")
        if found.challenge != ("" if verifier is None else challenge_of(verifier)):
            raise GrantError("invalid_grant", "code_verifier was incorrect")
        return self.grant(client_id, found.user_id, found.scopes, rotates=not with_secret)

    def grant(self, client_id: str, user_id: str, scopes: Iterable[str], *, rotates: bool) -> TokenReply:
        """Note a consent and return its first tokens."""
        refresh_token = _random("AQ", _TOKEN_BYTES)
        grant = Grant(client_id, user_id, frozenset(scopes), self._now(), rotates, refresh_token)
        self._grants[refresh_token] = grant
        return self._reply(self.issue(client_id, user_id, grant.scopes), grant.scopes, refresh_token)

    def refresh(self, client_id: str, refresh_token: str, *, with_secret: bool) -> TokenReply:
        """Return a new access token and, for consents that rotate, a new refresh token: the old one ends at once.

        Raises
        ------
        GrantError
            If the refresh token is unknown, rotated, revoked, of another application, or its consent too old.
        """
        grant = self._grants.get(refresh_token)
        if grant is None or grant.client_id != client_id:
            self.rotated_reuse += refresh_token in self._rotated
            raise GrantError("invalid_grant", "Invalid refresh token")
        if self._now() >= grant.consented_at + self._options.consent_seconds:
            del self._grants[refresh_token]
            raise GrantError("invalid_grant", "Refresh token expired")
        if not grant.rotates and not with_secret:
            raise GrantError("invalid_client", "Invalid client secret")
        replacement = None
        if grant.rotates:
            replacement = grant.refresh_token = _random("AQ", _TOKEN_BYTES)
            self._rotated.add(refresh_token)
            self._grants[replacement] = self._grants.pop(refresh_token)
        return self._reply(self.issue(client_id, grant.user_id, grant.scopes), grant.scopes, replacement)

    def for_application(self, app: SandboxApp) -> TokenReply:
        """Return an access token without a user (client credentials)."""
        return self._reply(self.issue(app.client_id, None, ()), frozenset(), None)

    def issue(self, client_id: str, user_id: str | None, scopes: Iterable[str]) -> str:
        """Return an access token, without a refresh token."""
        token = _random("BQ", _TOKEN_BYTES)
        now = self._now()
        self._tokens = {name: each for name, each in self._tokens.items() if each.expires_at > now - 86_400}
        self._tokens[token] = AccessToken(client_id, user_id, frozenset(scopes), now + self._options.token_seconds)
        self._save()
        return token

    def token(self, access_token: str) -> AccessToken | None:
        """Return what an access token stands for, even if it has expired."""
        return self._tokens.get(access_token)

    def is_valid(self, token: AccessToken) -> bool:
        """Return whether a token has not expired."""
        return self._now() < token.expires_at

    def expire(self, access_token: str) -> None:
        """End an access token now."""
        token = self._tokens[access_token]
        self._tokens[access_token] = AccessToken(token.client_id, token.user_id, token.scopes, self._now())
        self._save()

    def revoke(self, refresh_token: str) -> None:
        """Take a consent back, as a user does on the account page."""
        self._grants.pop(refresh_token, None)
        self._save()

    def _reply(self, access_token: str, scopes: frozenset[str], refresh_token: str | None) -> TokenReply:
        return TokenReply(access_token, int(self._options.token_seconds), scopes, refresh_token)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _save(self) -> None:
        path = self._options.state_file
        if path is None:
            return
        state = {
            "grants": [_plain(grant) for grant in self._grants.values()],
            "tokens": {name: _plain(token) for name, token in self._tokens.items()},
        }
        fresh = path.with_name(f".{path.name}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(state), encoding="utf-8")
        fresh.replace(path)

    def _load(self, path: Path) -> None:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # a first start, or a file cut off by a crash: everybody consents again
        for each in state["grants"]:
            self._grants[each["refresh_token"]] = Grant(**_scoped(each))
        for name, each in state["tokens"].items():
            self._tokens[name] = AccessToken(**_scoped(each))


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, section 4.2).

    Examples
    --------
    >>> challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _random(prefix: str, size: int) -> str:
    return prefix + secrets.token_urlsafe(size)


def _plain(record: Grant | AccessToken) -> Mapping[str, Any]:
    return asdict(record) | {"scopes": sorted(record.scopes)}


def _scoped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "scopes": frozenset(values["scopes"])}
