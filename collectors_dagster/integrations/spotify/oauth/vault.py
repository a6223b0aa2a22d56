"""The vault: where tokens lie that all processes share. What the rest of this room knows of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr

from collectors_dagster.integrations.timescale.spotify_accounts import AccountState, Claim, TokenOwner


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer of the accounts service brought; None: it did not say, what is there stays."""

    access_token: SecretStr
    issued_at: datetime
    expires_at: datetime
    refresh_token: SecretStr | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An account and its tokens, as they are now.

    Attributes
    ----------
    version : int
        One more with each change of the tokens.
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
    refresh_token: SecretStr | None
    access_token: SecretStr | None
    issued_at: datetime | None
    expires_at: datetime | None
    consented_at: datetime | None
    not_before: datetime | None
    busy: bool


class TokenVault(Protocol):
    """Tokens that all processes share. Calls block; any of them may be made again."""

    def read(self, owner: TokenOwner) -> Stored | None:
        """Return the account as it is now."""
        ...

    def introduce(self, tenant_id: str, client_id: str) -> None:
        """Make the row of a tenant's application; another application than before starts without tokens."""
        ...

    def claim(self, owner: TokenOwner, version: int, seconds: float) -> Claim | None:
        """Return the right to ask for tokens for so long; None if somebody else has it, or the tokens are newer."""
        ...

    def store(self, owner: TokenOwner, claim: Claim, tokens: Tokens) -> bool:
        """Store what was answered; False if newer tokens are there, or the account is leaving."""
        ...

    def end(self, owner: TokenOwner, claim: Claim, *, answered: bool, not_before: datetime | None = None) -> None:
        """Let others ask: after an answer without tokens, or after none, which stays on record."""
        ...

    def refuse(self, owner: TokenOwner, claim: Claim, reason: str) -> bool:
        """Note that the refresh token is taken no more; False if newer tokens are there."""
        ...

    def expire(self, owner: TokenOwner, version: int, reason: str) -> bool:
        """Note that consent ended by the calendar; False if newer tokens are there."""
        ...

    def consent(
        self, owner: TokenOwner, client_id: str, tokens: Tokens, scopes: tuple[str, ...], consented_at: datetime
    ) -> None:
        """Store what a user has just consented to, whatever was there before."""
        ...


__all__ = ["AccountState", "Claim", "Stored", "TokenOwner", "TokenVault", "Tokens"]
