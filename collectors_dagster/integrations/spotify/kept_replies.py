"""Answers of the Web API in the cache that all processes share."""

from collectors_dagster.patterns.byte_cache import ByteCache


class KeptReplies:
    """A :class:`~collectors_dagster.patterns.byte_cache.ByteCache` as the client uses one.

    Only for what an application is answered: what a user is answered would have to leave when the user disconnects.
    """

    def __init__(self, cache: ByteCache) -> None:
        self._cache = cache

    async def get(self, key: str) -> bytes | None:
        """Return what was set, or None."""
        found = await self._cache.get(key)
        return None if found is None else found.value

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep `value` for a while."""
        await self._cache.put(key, value, ttl_seconds)
