"""Spotify accounts and their tokens, sealed by whoever writes them: this table never sees a token.

Who asks the service for tokens holds a claim: a row in the database, not a lock on it, so that no connection waits
for the service. A claim ends by itself, by the database's clock; what is written names the version that was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.tenants import TenantTable

QUERIES = load_queries("spotify_accounts")


class AccountState(StrEnum):
    """Whether an account can be read."""

    CONNECTED = "connected"
    NEEDS_CONSENT = "needs_consent"
    LEAVING = "leaving"
    """It is being disconnected; `collectors spotify disconnect` again ends what was interrupted."""


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose tokens: a user of a tenant or, with an empty `user_id`, the tenant's application itself."""

    tenant_id: str
    user_id: str = ""

    @property
    def is_user(self) -> bool:
        """Whether it is a user, who consents, and not the application."""
        return bool(self.user_id)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to ask for tokens, for a short time.

    Attributes
    ----------
    version : int
        Of the tokens that were read before.
    interrupted : bool
        Whether a request before this one never came to an end: its answer may have been lost.
    """

    attempt: UUID
    version: int
    interrupted: bool


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """A row, tokens sealed.

    Attributes
    ----------
    busy : bool
        Whether somebody's request for tokens may be under way.
    not_before : datetime or None
        The service asked for a pause until then.
    """

    client_id: str
    state: AccountState
    reason: str | None
    scopes: tuple[str, ...]
    version: int
    refresh_token: bytes | None
    access_token: bytes | None
    issued_at: datetime | None
    expires_at: datetime | None
    consented_at: datetime | None
    not_before: datetime | None
    busy: bool


@dataclass(frozen=True, slots=True)
class SealedTokens:
    """What an answer brought; None: it did not say, what is there stays."""

    access_token: bytes
    issued_at: datetime
    expires_at: datetime
    refresh_token: bytes | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account as people see it.

    Attributes
    ----------
    user_id : str
        Spotify's id of the user; no name and no address is stored.
    reason : str or None
        Why consent is needed.
    consented_at : datetime
        When the user last consented; that lasts six months.
    token_at : datetime or None
        When its last access token was issued.
    """

    tenant_id: str
    user_id: str
    client_id: str
    state: AccountState
    reason: str | None
    scopes: tuple[str, ...]
    consented_at: datetime
    token_at: datetime | None

    @property
    def needs_consent(self) -> bool:
        """Whether it cannot be read until its user consents again."""
        return self.state is AccountState.NEEDS_CONSENT


class SpotifyAccountTable:
    """``core.spotify_account``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def read(self, owner: TokenOwner) -> SealedAccount | None:
        """Return the row as it is now."""
        key = self._key(owner)
        with self._database.transaction("read a Spotify account") as cursor:
            row = cursor.execute(QUERIES["read"], key).fetchone()
        return None if row is None else SealedAccount(row[0], AccountState(row[1]), row[2], tuple(row[3]), *row[4:])

    def introduce(self, tenant_id: str, client_id: str) -> None:
        """Make the row of a tenant's application; another application than before starts without tokens."""
        self._change("introduce", TokenOwner(tenant_id), client_id=client_id)

    def claim(self, owner: TokenOwner, version: int, seconds: float) -> Claim | None:
        """Return the right to ask for tokens for so long; None if somebody else has it, or the tokens are newer."""
        attempt = uuid4()
        wanted = {**self._key(owner), "version": version, "attempt": attempt, "seconds": seconds}
        with self._database.transaction("claim a request for Spotify tokens") as cursor:
            row = cursor.execute(QUERIES["claim"], wanted).fetchone()
        return None if row is None else Claim(attempt, version, bool(row[0]))

    def store(self, owner: TokenOwner, claim: Claim, tokens: SealedTokens) -> bool:
        """Store what was answered; False if newer tokens are there, or the account is leaving."""
        return self._change(
            "store",
            owner,
            version=claim.version,
            refresh_token=tokens.refresh_token,
            access_token=tokens.access_token,
            issued_at=tokens.issued_at,
            expires_at=tokens.expires_at,
            scopes=None if tokens.scopes is None else list(tokens.scopes),
        )

    def end(self, owner: TokenOwner, claim: Claim, *, answered: bool, not_before: datetime | None = None) -> None:
        """Let others ask: after an answer without tokens, or after none, which stays on record.

        Parameters
        ----------
        not_before : datetime, optional
            The service asked for a pause until then.
        """
        self._change("end", owner, attempt=claim.attempt, answered=answered, not_before=not_before)

    def refuse(self, owner: TokenOwner, claim: Claim, reason: str) -> bool:
        """Note that the refresh token is taken no more; False if newer tokens are there."""
        return self._change("refuse", owner, version=claim.version, attempt=claim.attempt, reason=reason)

    def expire(self, owner: TokenOwner, version: int, reason: str) -> bool:
        """Note that consent ended by the calendar; False if newer tokens are there."""
        return self._change("expire", owner, version=version, reason=reason)

    def consent(
        self, owner: TokenOwner, client_id: str, tokens: SealedTokens, scopes: tuple[str, ...], consented_at: datetime
    ) -> None:
        """Store what a user has just consented to, whatever was there before."""
        self._change(
            "consent",
            owner,
            client_id=client_id,
            scopes=list(scopes),
            refresh_token=tokens.refresh_token,
            access_token=tokens.access_token,
            issued_at=tokens.issued_at,
            expires_at=tokens.expires_at,
            consented_at=consented_at,
        )

    def of_tenant(self, tenant_id: str) -> list[AccountStatus]:
        """Return the accounts of a tenant, in the order of their consent."""
        with self._database.transaction("list Spotify accounts") as cursor:
            rows = cursor.execute(QUERIES["list"], {"tenant_key": self._tenants.key(tenant_id)})
            return [_status(tenant_id, row) for row in rows]

    def leave(self, owner: TokenOwner) -> bool:
        """Delete the tokens of an account that is being disconnected; False if there is none."""
        return self._change("leave", owner)

    def forget(self, owner: TokenOwner) -> bool:
        """Forget an account whose data are deleted; False if its user has connected again meanwhile."""
        return self._change("forget", owner)

    def untold(self, consented_before: datetime) -> list[AccountStatus]:
        """Return accounts whose tenants have to be told: consent is needed, or was given before an instant."""
        with self._database.transaction("list Spotify accounts to tell of") as cursor:
            rows = cursor.execute(QUERIES["untold"], {"consented_before": consented_before})
            return [_status(row[0], row[1:]) for row in rows]

    def told(self, account: AccountStatus, at: datetime) -> None:
        """Note that the alert about an account, as it was returned by :meth:`untold`, is in the ledger of alerts."""
        owner = TokenOwner(account.tenant_id, account.user_id)
        self._change("told", owner, at=at, state=account.state.value, consented_at=account.consented_at)

    def _key(self, owner: TokenOwner) -> dict[str, object]:
        return {"tenant_key": self._tenants.key(owner.tenant_id), "user_id": owner.user_id}

    def _change(self, query: str, owner: TokenOwner, **values: object) -> bool:
        """Run one statement; return whether it changed something."""
        wanted = {**self._key(owner), **values}
        with self._database.transaction("change a Spotify account") as cursor:
            return _changed(cursor, query, wanted)


def _changed(cursor: Cursor, query: str, wanted: dict[str, object]) -> bool:
    cursor.execute(QUERIES[query], wanted)
    return cursor.rowcount > 0


def _status(tenant_id: str, row: Sequence[Any]) -> AccountStatus:
    user_id, client_id, state, reason, scopes, consented_at, token_at = row
    return AccountStatus(
        tenant_id, user_id, client_id, AccountState(state), reason, tuple(scopes), consented_at, token_at
    )
