"""Answers kept to be used again: without asking while they are valid, and asked about by their ETag afterwards.

They lie under tenant, user and address: nobody ever gets what was answered to another one. Where bytes lie is not known
here (:class:`ByteCache`); when that place is away there is no cache, and nothing else changes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

from pydantic_core import from_json, to_json

from collectors_dagster.clock import Clock
from collectors_dagster.integrations.spotify.memory import JsonObject


class ByteCache(Protocol):
    """A place for bytes that may forget them, and that never raises because it is away."""

    async def get(self, key: str) -> bytes | None:
        """Return what was set, or ``None``."""
        ...

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep `value` for a while."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was kept."""

    etag: str | None
    fresh_until: datetime
    body: bytes

    def document(self) -> JsonObject | None:
        """Return the answer; ``None`` if it is damaged."""
        try:
            document = from_json(self.body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None


class ResponseCache:
    """Answers to one user of one tenant.

    Parameters
    ----------
    keep_seconds : float
        How long an answer with an ETag is kept after its time.
    """

    def __init__(self, bytes_: ByteCache | None, *, tenant: str, user: str, clock: Clock, keep_seconds: float) -> None:
        self._bytes = bytes_
        self._scope = f"{tenant}\n{user}\n"
        self._clock = clock
        self._keep = keep_seconds

    async def load(self, url: str) -> Kept | None:
        """Return what was answered to this address."""
        if self._bytes is None:
            return None
        packed = await self._bytes.get(self._key(url))
        return None if packed is None else _unpacked(packed)

    async def save(self, url: str, *, body: bytes, etag: str | None, max_age_seconds: float | None) -> None:
        """Keep an answer, if it may be kept and will be of use."""
        if self._bytes is None or max_age_seconds is None or (etag is None and max_age_seconds <= 0):
            return
        fresh_until = self._clock.now() + timedelta(seconds=max_age_seconds)
        head = to_json({"etag": etag, "fresh_until": fresh_until.isoformat()})
        keep = max_age_seconds + (self._keep if etag is not None else 0.0)
        await self._bytes.set(self._key(url), head + b"\n" + body, keep)

    def fresh(self, kept: Kept) -> bool:
        """Say whether an answer may be used without asking."""
        return self._clock.now() < kept.fresh_until

    def _key(self, url: str) -> str:
        return "http:" + sha256((self._scope + url).encode()).hexdigest()


def _unpacked(packed: bytes) -> Kept | None:
    head, _, body = packed.partition(b"\n")
    try:
        told = from_json(head)
        etag, fresh_until = told["etag"], datetime.fromisoformat(told["fresh_until"])
    except (ValueError, KeyError, TypeError):
        return None
    valid = (etag is None or isinstance(etag, str)) and fresh_until.tzinfo is not None
    return Kept(etag, fresh_until, body) if valid else None
