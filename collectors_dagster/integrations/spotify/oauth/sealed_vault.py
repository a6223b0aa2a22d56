"""The vault in the database: each token is sealed before it leaves this process, bound to its tenant, user and kind."""

from datetime import datetime

from pydantic import SecretStr

from collectors_dagster.errors import SecurityError
from collectors_dagster.integrations.spotify.oauth.vault import Claim, Stored, TokenOwner, Tokens
from collectors_dagster.integrations.timescale.spotify_accounts import SealedTokens, SpotifyAccountTable
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

_ACCESS, _REFRESH = "access_token", "refresh_token"


class SealedVault:
    """Tokens in ``core.spotify_account``, sealed; a :class:`TokenVault`."""

    def __init__(self, table: SpotifyAccountTable, sealer: Sealer) -> None:
        self._table = table
        self._sealer = sealer

    def read(self, owner: TokenOwner) -> Stored | None:
        """Return the account as it is now.

        Raises
        ------
        SecurityError
            If its tokens were sealed with a key that is not among ours, or were changed.
        """
        row = self._table.read(owner)
        if row is None:
            return None
        return Stored(
            client_id=row.client_id,
            state=row.state,
            reason=row.reason,
            scopes=row.scopes,
            version=row.version,
            refresh_token=self._opened(owner, _REFRESH, row.refresh_token),
            access_token=self._opened(owner, _ACCESS, row.access_token),
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            consented_at=row.consented_at,
            not_before=row.not_before,
            busy=row.busy,
        )

    def introduce(self, tenant_id: str, client_id: str) -> None:
        """Make the row of a tenant's application; another application than before starts without tokens."""
        self._table.introduce(tenant_id, client_id)

    def claim(self, owner: TokenOwner, version: int, seconds: float) -> Claim | None:
        """Return the right to ask for tokens for so long; None if somebody else has it, or the tokens are newer."""
        return self._table.claim(owner, version, seconds)

    def store(self, owner: TokenOwner, claim: Claim, tokens: Tokens) -> bool:
        """Store what was answered; False if newer tokens are there, or the account is leaving."""
        return self._table.store(owner, claim, self._sealed(owner, tokens))

    def end(self, owner: TokenOwner, claim: Claim, *, answered: bool, not_before: datetime | None = None) -> None:
        """Let others ask: after an answer without tokens, or after none, which stays on record."""
        self._table.end(owner, claim, answered=answered, not_before=not_before)

    def refuse(self, owner: TokenOwner, claim: Claim, reason: str) -> bool:
        """Note that the refresh token is taken no more; False if newer tokens are there."""
        return self._table.refuse(owner, claim, reason)

    def expire(self, owner: TokenOwner, version: int, reason: str) -> bool:
        """Note that consent ended by the calendar; False if newer tokens are there."""
        return self._table.expire(owner, version, reason)

    def consent(
        self, owner: TokenOwner, client_id: str, tokens: Tokens, scopes: tuple[str, ...], consented_at: datetime
    ) -> None:
        """Store what a user has just consented to, whatever was there before."""
        self._table.consent(owner, client_id, self._sealed(owner, tokens), scopes, consented_at)

    def _sealed(self, owner: TokenOwner, tokens: Tokens) -> SealedTokens:
        refresh = tokens.refresh_token
        return SealedTokens(
            access_token=self._closed(owner, _ACCESS, tokens.access_token),
            issued_at=tokens.issued_at,
            expires_at=tokens.expires_at,
            refresh_token=None if refresh is None else self._closed(owner, _REFRESH, refresh),
            scopes=tokens.scopes,
        )

    def _closed(self, owner: TokenOwner, kind: str, token: SecretStr) -> bytes:
        return self._sealer.seal(token.get_secret_value().encode(), _context(owner, kind))

    def _opened(self, owner: TokenOwner, kind: str, sealed: bytes | None) -> SecretStr | None:
        if sealed is None:
            return None
        whose = f"tenant {owner.tenant_id}: the Spotify tokens of {owner.user_id or 'the application'}"
        try:
            return SecretStr(self._sealer.unseal(sealed, _context(owner, kind)).decode())
        except UnknownKeyError as error:
            problem = (
                f"{whose}: {error}; add that key behind the present one in spotify.token_keys_file, or connect again: "
                f"`collectors spotify connect --tenant {owner.tenant_id}`"
            )
        except (SecurityError, UnicodeDecodeError):
            problem = f"{whose} were changed in the database; `collectors spotify connect --tenant {owner.tenant_id}`"
        raise SecurityError(problem)


def _context(owner: TokenOwner, kind: str) -> bytes:
    """Return what binds a token to its place; no part can hold a zero byte, so no two places look alike."""
    return f"collectors.spotify\0{owner.tenant_id}\0{owner.user_id}\0{kind}".encode()
