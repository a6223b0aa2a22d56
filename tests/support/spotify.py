"""A Spotify sandbox beside a test: a real HTTP server on a free port, and a handle to judge and to disturb.

The tests' other judge of the client, so it uses nothing of the client's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from collectors_dagster.clock import Clock, ManualClock
from collectors_dagster.sandbox import Fault, PlaylistChange, Quota, RateLimit, SandboxApp, SandboxOptions
from collectors_dagster.sandbox.accounts import TokenReply
from collectors_dagster.sandbox.counts import Counts, RequestRecord
from collectors_dagster.sandbox.running import BackgroundSandbox, in_background
from collectors_dagster.sandbox.world import World


@dataclass(frozen=True)
class SpotifySandbox:
    """What a test may ask of a running sandbox; every method may be called from any thread.

    Attributes
    ----------
    clock : Clock
        The sandbox's; with a ManualClock, moving it ends tokens and pauses, and lets plays and days come.
    """

    clock: Clock
    _running: BackgroundSandbox = field(repr=False)

    @property
    def url(self) -> str:
        return self._running.sandbox.base_url

    @property
    def api_url(self) -> str:
        """Stands for https://api.spotify.com/v1."""
        return f"{self.url}/v1"

    @property
    def accounts_url(self) -> str:
        """Stands for https://accounts.spotify.com."""
        return self.url

    @property
    def apps(self) -> tuple[SandboxApp, ...]:
        return self._running.sandbox.options.apps

    @property
    def app(self) -> SandboxApp:
        return self.apps[0]

    @property
    def users(self) -> tuple[str, ...]:
        """All users; the last one is on no allow list of development mode."""
        return tuple(user.id for user in self._running.sandbox.everything.listeners.all)

    @property
    def world(self) -> World:
        """The catalogue: `artist_ids(n)`, `album_ids(n)`, `track_ids(n)`."""
        return self._running.sandbox.everything.world

    @property
    def large_playlist_id(self) -> str:
        """The playlist of `WorldOptions.large_playlist_items`; it is the first user's and never drifts."""
        return self._running.sandbox.everything.playlists.large.id

    def playlist_ids(self, user_id: str, *, own: bool = False) -> list[str]:
        """Return the playlists in a user's library, or those that are theirs."""
        library = self._running.sandbox.everything.playlists.library(user_id)
        return [each.id for each in library if not own or each.owner.id == user_id]

    def token(
        self, user_id: str | None = None, scopes: Sequence[str] | None = None, app: SandboxApp | None = None
    ) -> str:
        """Return an access token without the dance; without a user, an application's own."""
        client_id = (app or self.app).client_id
        return self._running.call(lambda sandbox: sandbox.token(user_id, scopes, client_id))

    def grant(
        self,
        user_id: str,
        scopes: Sequence[str] | None = None,
        *,
        pkce: bool = True,
        app: SandboxApp | None = None,
    ) -> TokenReply:
        """Return access and refresh token of a fresh consent."""
        client_id = (app or self.app).client_id
        return self._running.call(lambda sandbox: sandbox.grant(user_id, scopes, client_id, pkce=pkce))

    def expire(self, access_token: str) -> None:
        self._running.call(lambda sandbox: sandbox.accounts.expire(access_token))

    def revoke(self, refresh_token: str) -> None:
        self._running.call(lambda sandbox: sandbox.accounts.revoke(refresh_token))

    def counts(self) -> Counts:
        return self._running.call(lambda sandbox: sandbox.counts())

    def requests(self) -> list[RequestRecord]:
        return self._running.call(lambda sandbox: sandbox.requests())

    def reset_counts(self) -> None:
        self._running.call(lambda sandbox: sandbox.reset_counts())

    def fault(self, *faults: Fault) -> None:
        """Arm faults; each waits for its requests, the first that fits strikes alone."""
        self._running.call(lambda sandbox: sandbox.arm(*faults))

    def clear_faults(self) -> None:
        self._running.call(lambda sandbox: sandbox.faults.clear())

    def set_limit(self, limit: RateLimit | None) -> None:
        self._running.call(lambda sandbox: sandbox.set_limit(limit))

    def set_quota(self, quota: Quota | None) -> None:
        self._running.call(lambda sandbox: sandbox.set_quota(quota))

    def ban(self, seconds: float, reason: str = "rate", account: str = "") -> None:
        """Ban a developer account (the default application's) from now on; `reason` may be QUOTA_EXCEEDED."""
        self._running.call(lambda sandbox: sandbox.ban(account or self.app.account, seconds, reason))

    def change_playlist(self, change: PlaylistChange) -> str:
        """Change a playlist; return its new snapshot."""
        return self._running.call(lambda sandbox: sandbox.change_playlist(change))

    def add_play(self, user_id: str, track_id: str = "", played_at: datetime | None = None) -> None:
        self._running.call(lambda sandbox: sandbox.add_play(user_id, track_id, played_at))


@contextmanager
def running_spotify_sandbox(
    options: SandboxOptions | None = None, clock: Clock | None = None, port: int = 0
) -> Iterator[SpotifySandbox]:
    """Yield a sandbox of a test's own; its clock is a ManualClock unless another is given."""
    own = clock or ManualClock()
    with in_background(options or SandboxOptions(), own, port) as running:
        yield SpotifySandbox(own, running)
