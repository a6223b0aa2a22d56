"""What is pulled from Spotify: why each dataset exists, how long it is kept, what a user must have allowed.

Spotify's developer terms ask for a purpose and forbid keeping content for longer than it serves it (docs/spotify.md).
Both are written beside the data (``core.spotify_pull``), so that a reader of the tables need not know this file.
"""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Dataset:
    """One kind of data.

    Attributes
    ----------
    name : str
        The asset's name without ``spotify_``.
    purpose : str
        What the tenant has of it, in one sentence.
    keep_days : int
        Days after which a row is deleted unless the tenant says otherwise.
    scopes : tuple of str
        What the user must have allowed; see developer.spotify.com/documentation/web-api/concepts/scopes.
    per_user : bool
        Whether each connected user is pulled; else the tenant is pulled once.
    every_minutes : int
        The longest pause between two pulls with which nothing is lost or stale.
    """

    name: str
    purpose: str
    keep_days: int
    scopes: tuple[str, ...] = ()
    per_user: bool = True
    every_minutes: int = 24 * 60

    @property
    def asset(self) -> str:
        """The asset's name."""
        return f"spotify_{self.name}"

    def kept_days(self, longest: int | None) -> int:
        """Return the days that rows are kept for a tenant who keeps nothing for longer than `longest` days."""
        return self.keep_days if longest is None else min(self.keep_days, longest)

    @property
    def urgent(self) -> bool:
        """Whether what is not pulled in time is lost: such pulls go first where a quota is shared."""
        return self.every_minutes < 60


RECENTLY_PLAYED = Dataset(
    "recently_played",
    "Shows users what they listened to: Spotify itself remembers only the last 50 plays.",
    keep_days=90,
    scopes=("user-read-recently-played",),
    every_minutes=20,
)
SAVED_TRACKS = Dataset(
    "saved_tracks",
    "Shows users what they saved and removed.",
    keep_days=365,
    scopes=("user-library-read",),
)
ARTISTS = Dataset(
    "artists",
    "Follows the popularity of the artists that the tenant's users listen to.",
    keep_days=90,
    per_user=False,
)
ARTIST_ALBUMS = Dataset(
    "artist_albums",
    "Tells users of new releases by these artists.",
    keep_days=365,
    per_user=False,
)
PLAYLISTS = Dataset(
    "playlists",
    "Shows users how their playlists changed.",
    keep_days=90,
    scopes=("playlist-read-private", "playlist-read-collaborative"),
)
TOP_ITEMS = Dataset(
    "top_items",
    "Shows users their own top artists and tracks over time.",
    keep_days=365,
    scopes=("user-top-read",),
)
FOLLOWED_ARTISTS = Dataset(
    "followed_artists",
    "Knows whose releases a user wants to hear of.",
    keep_days=365,
    scopes=("user-follow-read",),
)
PROFILE = Dataset(
    "profile",
    "Knows which account is connected.",
    keep_days=30,
    scopes=("user-read-private",),
)

DAILY = (PROFILE, FOLLOWED_ARTISTS, TOP_ITEMS, PLAYLISTS, ARTISTS, ARTIST_ALBUMS)
"""In the order in which they are pulled: what is cheap and feeds the others comes first."""
INCREMENTAL = (RECENTLY_PLAYED, SAVED_TRACKS)
"""With a cursor of their own instead of days; the one that is lost when missed comes first."""

DATASETS = MappingProxyType({dataset.name: dataset for dataset in (*INCREMENTAL, *DAILY)})
"""All of them by name."""

REQUIRED_SCOPES = tuple(sorted({scope for dataset in DATASETS.values() for scope in dataset.scopes}))
"""What a user is asked to allow."""

RECENT_PLAYS = 50
"""Plays that Spotify remembers."""


def may_have_lost(new: int, returned: int, *, known_before: bool) -> bool:
    """Say whether plays may have been missed since the last pull.

    Spotify remembers fifty plays. If all of them are new, there may have been a fifty-first.

    Parameters
    ----------
    new, returned : int
        Plays of this pull that were not stored before, and all of them.
    known_before : bool
        Whether this user was pulled before: the first pull cannot miss anything.

    Examples
    --------
    >>> may_have_lost(50, 50, known_before=True)
    True
    >>> may_have_lost(50, 50, known_before=False)
    False
    >>> may_have_lost(12, 50, known_before=True)
    False
    """
    return known_before and returned >= RECENT_PLAYS and new >= returned
