"""Which endpoints an application may use: Spotify's quota modes, as rules.

An application in *development* mode gets a reduced API since 2026: no several artists at once, no new releases, no top
tracks of an artist, no playlists of strangers. One with an *extended quota* keeps everything. Nobody tells a client
which it is: what was refused once is remembered for a day, and looked at again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias

from collectors_dagster.integrations.spotify.memory import JsonObject

REMEMBERED = timedelta(days=1)
Kind: TypeAlias = Literal["artists", "albums", "tracks"]
BATCH: dict[Kind, int] = {"artists": 50, "albums": 20, "tracks": 50}
"""Ids in one request, where several may be asked for."""
FEATURES: tuple[tuple[str, str], ...] = (
    (r"artists\?ids", "batch_artists"),
    (r"albums\?ids", "batch_albums"),
    (r"tracks\?ids", "batch_tracks"),
    (r"(shows|episodes|audiobooks|chapters)\?ids", "batch_others"),
    (r"artists/[^/]+/top-tracks", "artist_top_tracks"),
    (r"artists/[^/]+/related-artists", "related_artists"),
    (r"browse/new-releases", "new_releases"),
    (r"browse/.+", "browse"),
    (r"recommendations.*", "recommendations"),
    (r"audio-features.*", "audio_features"),
    (r"audio-analysis/.+", "audio_analysis"),
    (r"markets", "markets"),
    (r"users/.+", "users"),
    (r"playlists/[^/]+/tracks", "playlist_tracks"),
)
"""Endpoints that a mode may lack as a whole."""
PARTIAL: tuple[tuple[str, str], ...] = ((r"playlists/[^/]+/items", "playlists_of_others"),)
"""Endpoints that a mode may lack for some of what can be asked for."""
_FEATURES = tuple((re.compile(pattern), name) for pattern, name in FEATURES)
_PARTIAL = tuple((re.compile(pattern), name) for pattern, name in PARTIAL)
_PERSONAL = ("scope", "regist", "premium", "allowlist", "token")
"""Words of a refusal that concerns the user or the consent, not the mode."""


class Seen(NamedTuple):
    """Whether something was available, and when that was seen."""

    available: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """What an application may use, as far as it was seen.

    Examples
    --------
    >>> Profile().mode
    'unknown'
    """

    features: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def mode(self) -> Literal["extended", "development", "unknown"]:
        """The quota mode: told by whether several things may be asked for at once."""
        batches = [seen.available for name, seen in self.features.items() if name.startswith("batch_")]
        if not batches:
            return "unknown"
        return "extended" if any(batches) else "development"

    @property
    def probed_at(self) -> datetime | None:
        """When the newest of it was seen."""
        return max((seen.at for seen in self.features.values()), default=None)

    def available(self, feature: str, now: datetime) -> bool | None:
        """Say whether something is available; ``None``: not known, or too long ago."""
        seen = self.features.get(feature)
        return seen.available if seen is not None and now - seen.at < REMEMBERED else None

    def with_seen(self, feature: str, available: bool, now: datetime) -> "Profile":  # noqa: FBT001 - the fact itself
        """Return the profile after something was seen."""
        return Profile({**self.features, feature: Seen(available, now)})

    def as_dict(self) -> JsonObject:
        """Return it as JSON."""
        features = {
            name: {"available": seen.available, "seen_at": seen.at.isoformat()} for name, seen in self.features.items()
        }
        return {"mode": self.mode, "features": features}


def profile_of(document: JsonObject | None) -> Profile:
    """Read a profile that was remembered; what cannot be read was never seen."""
    features: dict[str, Seen] = {}
    remembered = (document or {}).get("features")
    for name, seen in remembered.items() if isinstance(remembered, dict) else ():
        try:
            at = datetime.fromisoformat(seen["seen_at"])
            if isinstance(seen["available"], bool) and at.tzinfo is not None:
                features[name] = Seen(seen["available"], at)
        except (KeyError, TypeError, ValueError):
            continue
    return Profile(features)


def feature_of(path: str, params: Mapping[str, object]) -> str | None:
    """Return what an application must have to ask so; ``None``: every one has it.

    Examples
    --------
    >>> feature_of("artists", {"ids": "1,2"}), feature_of("artists/1", {})
    ('batch_artists', None)
    """
    return _named(_FEATURES, f"{path}?ids" if "ids" in params else path)


def lacking(path: str, params: Mapping[str, object], status: int, message: str) -> str | None:
    """Return what the mode lacks, if that is what a refusal means.

    Examples
    --------
    >>> lacking("browse/new-releases", {}, 403, "Forbidden"), lacking("me/tracks", {}, 403, "Insufficient client scope")
    ('new_releases', None)
    """
    if any(word in message.lower() for word in _PERSONAL):
        return None
    whole = feature_of(path, params)
    if whole is not None:
        closed = {403, 410} if path.count("/") > 1 else {403, 404, 410}  # of one id, 404 means that it is not known
        return whole if status in closed else None
    return _named(_PARTIAL, path) if status == 403 else None


def family_of(path: str) -> str:
    """Return the family of endpoints whose health is watched together: its path without ids.

    Examples
    --------
    >>> family_of("artists/0TnOYISbd1XYRBk9myaseg/albums"), family_of("me/player/recently-played")
    ('artists-albums', 'me-player')
    """
    parts = path.split("/")
    if parts[0] in {"me", "browse"}:
        return "-".join(parts[:2])
    return "-".join([parts[0], *parts[2:3]])


def _named(patterns: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str | None:
    return next((name for pattern, name in patterns if pattern.fullmatch(text)), None)
