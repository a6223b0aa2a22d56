"""What a sandbox is told when it starts: frozen records with sane defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["extended", "development"]

CLIENT_ID = "5a4db0c5000000000000000000000001"
CLIENT_SECRET = "5a4db0c55a4db0c55a4db0c55a4db0c5"  # noqa: S105  # opens nothing but invented data on this machine


@dataclass(frozen=True, slots=True)
class SandboxApp:
    """An application registered with the sandbox.

    Attributes
    ----------
    account : str
        The developer account: applications of one account share its rate limit and its quota.
    mode : str
        Its quota mode; empty: that of the sandbox.
    redirect_uris : tuple of str
        Registered https addresses; ``http`` to 127.0.0.1 and [::1] is accepted with any port and path.
    """

    client_id: str = CLIENT_ID
    client_secret: str = field(default=CLIENT_SECRET, repr=False)
    account: str = "sandbox-developer"
    mode: Mode | Literal[""] = ""
    redirect_uris: tuple[str, ...] = ()


DEFAULT_APPS = (
    SandboxApp(),
    SandboxApp(client_id=CLIENT_ID[:-1] + "2"),
    SandboxApp(client_id=CLIENT_ID[:-1] + "3", account="other-developer"),
)
"""Two applications of one developer account, and one of another."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A rolling window: `requests` in any `window_seconds`.

    Attributes
    ----------
    lockout_seconds : float
        The least pause after the limit was broken; 0: until the oldest request leaves the window.
    escalation_seconds : float
        By how much each request during a pause makes it longer.
    """

    requests: int = 60
    window_seconds: float = 30.0
    lockout_seconds: float = 0.0
    escalation_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.requests < 1 or self.window_seconds <= 0 or min(self.lockout_seconds, self.escalation_seconds) < 0:
            raise ValueError("a rate limit needs at least one request, a window and no negative seconds")


@dataclass(frozen=True, slots=True)
class Quota:
    """`requests` in a period that begins with the first of them; more give ``QUOTA_EXCEEDED`` until it is over."""

    requests: int
    period_seconds: float = 86_400.0

    def __post_init__(self) -> None:
        if self.requests < 1 or self.period_seconds <= 0:
            raise ValueError("a quota needs at least one request and a period")


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How large the invented world is, and whether it moves.

    Attributes
    ----------
    artists : int
        Each has a handful of albums with about nine tracks.
    listeners : int
        Users; one more is not on any allow list.
    playlists : int
        Per user: own ones, collaborative ones and followed ones.
    large_playlist_items : int
        Items of one more playlist of the first user.
    drift : bool
        Whether playlists, libraries and popularity change from day to day.
    """

    artists: int = 600
    listeners: int = 5
    playlists: int = 12
    large_playlist_items: int = 1000
    drift: bool = True

    def __post_init__(self) -> None:
        if self.artists < 1 or self.listeners < 1 or self.playlists < 1 or self.large_playlist_items < 0:
            raise ValueError("a world needs at least one artist, one listener and one playlist")


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """All of it.

    Attributes
    ----------
    seed : int
        Two sandboxes with the same seed and the same time hold the same world.
    limit : RateLimit or None
        ``None``: no limit.
    latency_seconds : float
        Real seconds before each answer.
    max_age_seconds : mapping of str to int
        ``Cache-Control`` of `catalogue` (the same for everybody) and `personal` answers.
    compress : bool
        Whether answers are packed with gzip for those who accept it.
    token_seconds, consent_seconds, code_seconds : float
        Lives of an access token, of a consent (it is not prolonged by refreshing) and of an authorization code.
    in_flight_seconds : float
        A request that comes within so many real seconds of a 429 counts as sent before it was read.
    state_file : Path or None
        Where consents and tokens outlast a restart.
    """

    mode: Mode = "extended"
    seed: int = 1
    apps: tuple[SandboxApp, ...] = DEFAULT_APPS
    limit: RateLimit | None = RateLimit()
    quota: Quota | None = None
    world: WorldOptions = WorldOptions()
    latency_seconds: float = 0.0
    max_age_seconds: Mapping[str, int] = field(default_factory=lambda: {"catalogue": 3600, "personal": 0})
    compress: bool = True
    token_seconds: float = 3600.0
    consent_seconds: float = 182 * 86_400.0
    code_seconds: float = 600.0
    in_flight_seconds: float = 0.25
    state_file: Path | None = None
