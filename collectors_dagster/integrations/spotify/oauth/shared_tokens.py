"""Access tokens for coroutines: what this process knows, and one renewal at a time when it is not enough."""

import asyncio
from collections import deque

from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.errors import RequestRejectedError
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.renewal import Held, Renewal

STORM_REFUSALS = 5
STORM_SECONDS = 60.0
"""More renewals than that because the API refused tokens within that time: the tokens are not what is wrong."""


class SharedTokens:
    """An :class:`AccessTokens` over the vault, for the coroutines of one event loop.

    Parameters
    ----------
    account : str
        Developer account that the quota counts for.

    Notes
    -----
    A renewal runs in a thread and is not given up when the coroutine that wanted it is: the answer may hold the only
    refresh token that there is.
    """

    def __init__(self, renewal: Renewal, *, account: str, clock: Clock) -> None:
        self.account = account
        self._renewal = renewal
        self._clock = clock
        self._held: Held | None = None
        self._task: asyncio.Task[Held] | None = None
        self._refusals: deque[float] = deque()

    def __repr__(self) -> str:
        return f"SharedTokens(account={self.account!r})"

    async def token(self) -> SecretStr:
        """Return a token that is valid for a while yet; as :meth:`AccessTokens.token`."""
        held = self._held
        if held is None or self._clock.now() >= held.use_until:
            held = await self._renewed(None)
        return held.token

    async def rejected(self, token: SecretStr) -> SecretStr:
        """Return another token in the place of one that the API refused; as :meth:`AccessTokens.rejected`.

        Raises
        ------
        RequestRejectedError
            If the API refuses one fresh token after the other.
        """
        held = self._held
        if held is None or held.token == token or self._clock.now() >= held.use_until:
            self._count_refusal()
            self._held = None  # whoever asks for a token now waits for the next one
            held = await self._renewed(token)
        while held.token == token:  # of a renewal that was under way before it was refused
            held = await self._renewed(token)
        return held.token

    async def _renewed(self, refused: SecretStr | None) -> Held:
        """Wait for the renewal under way, or begin one."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(asyncio.to_thread(self._renewal.run, refused))
            self._task.add_done_callback(_seen)
        self._held = await asyncio.shield(self._task)
        return self._held

    def _count_refusal(self) -> None:
        """Count renewals because of refusals; those who come with an old token wait for the same one."""
        if self._task is not None and not self._task.done():
            return
        now = self._clock.monotonic()
        while self._refusals and self._refusals[0] <= now - STORM_SECONDS:
            self._refusals.popleft()
        if len(self._refusals) >= STORM_REFUSALS:
            raise RequestRejectedError(
                f"{SERVICE}: the API refused {STORM_REFUSALS} fresh tokens within {STORM_SECONDS:g} s; "
                "check that spotify.api_url and spotify.accounts_url belong together",
                service=SERVICE,
                operation="use a token",
            )
        self._refusals.append(now)


def _seen(task: asyncio.Task[Held]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
