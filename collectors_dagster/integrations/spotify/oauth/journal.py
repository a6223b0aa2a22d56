"""Answers of the accounts service on their way into the vault: on this machine's disk first, sealed.

An answer may hold the only refresh token that there is. Written down before the database is asked to take it, it
outlives a process that is killed in between, and a database that is away: the next process of this data directory
brings it into the vault, where it counts if nothing newer is there.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2s
from pathlib import Path
from uuid import UUID

import structlog
from pydantic import SecretStr

from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import SecurityError
from collectors_dagster.integrations.spotify.oauth.vault import Claim, TokenOwner, Tokens
from collectors_dagster.security.sealing import Sealer

log = structlog.get_logger(__name__)

_SUFFIX = ".answer"


class TokenJournal:
    """A directory with one small file per answer that is not in the vault yet.

    Parameters
    ----------
    directory : Path
        Made with the first answer, for its owner only.
    """

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._directory = directory
        self._sealer = sealer

    def keep(self, owner: TokenOwner, claim: Claim, tokens: Tokens) -> None:
        """Write an answer down. Where that cannot be done, the vault alone must do; it is logged."""
        path = self._path(owner, claim)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sealed = self._sealer.seal(_written(owner, claim, tokens), path.name.encode())
            write_atomically(path, sealed, mode=0o600, replace=True)
        except OSError as error:
            log.warning(
                "an answer with tokens cannot be written down", directory=str(self._directory), reason=str(error)
            )

    def pending(self, owner: TokenOwner) -> Iterator[tuple[Claim, Tokens]]:
        """Yield answers to an owner that are not dropped, the oldest first; one that does not open is left alone."""
        if not self._directory.is_dir():
            return
        found = [self._read(path, owner) for path in self._directory.glob(f"{_digest(owner)}-*{_SUFFIX}")]
        yield from sorted((each for each in found if each is not None), key=lambda each: each[0].version)

    def drop(self, owner: TokenOwner, claim: Claim) -> None:
        """Forget an answer: it is in the vault, or older than what is there."""
        try:
            self._path(owner, claim).unlink(missing_ok=True)
        except OSError as error:
            self._warn("an answer with tokens cannot be removed", error)

    def _path(self, owner: TokenOwner, claim: Claim) -> Path:
        return self._directory / f"{_digest(owner)}-{claim.attempt.hex}{_SUFFIX}"

    def _read(self, path: Path, owner: TokenOwner) -> tuple[Claim, Tokens] | None:
        try:
            return _understood(self._sealer.unseal(path.read_bytes(), path.name.encode()), owner)
        except (OSError, SecurityError, ValueError, KeyError, TypeError) as error:
            log.warning("an answer that was written down cannot be read", file=path.name, kind=type(error).__name__)
            return None

    def _warn(self, what: str, error: OSError) -> None:
        log.warning(what, directory=str(self._directory), reason=error.strerror)


def _digest(owner: TokenOwner) -> str:
    """Return what names an owner in a file's name: a user's id is not ours to choose."""
    return blake2s(f"{owner.tenant_id}\0{owner.user_id}".encode(), digest_size=16).hexdigest()


def _written(owner: TokenOwner, claim: Claim, tokens: Tokens) -> bytes:
    refresh = tokens.refresh_token
    values = {
        "tenant_id": owner.tenant_id,
        "user_id": owner.user_id,
        "attempt": claim.attempt.hex,
        "version": claim.version,
        "access_token": tokens.access_token.get_secret_value(),
        "refresh_token": None if refresh is None else refresh.get_secret_value(),
        "issued_at": tokens.issued_at.isoformat(),
        "expires_at": tokens.expires_at.isoformat(),
        "scopes": tokens.scopes,
    }
    return json.dumps(values).encode()


def _understood(content: bytes, owner: TokenOwner) -> tuple[Claim, Tokens]:
    values = json.loads(content)
    if (values["tenant_id"], values["user_id"]) != (owner.tenant_id, owner.user_id):
        raise ValueError("it is an answer to somebody else")
    refresh, scopes = values["refresh_token"], values["scopes"]
    tokens = Tokens(
        access_token=SecretStr(values["access_token"]),
        issued_at=datetime.fromisoformat(values["issued_at"]),
        expires_at=datetime.fromisoformat(values["expires_at"]),
        refresh_token=None if refresh is None else SecretStr(refresh),
        scopes=None if scopes is None else tuple(scopes),
    )
    return Claim(UUID(values["attempt"]), values["version"], interrupted=False), tokens
