"""What users listened to, saved and follow: plays, saved tracks, followed artists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, SpotifyPulls
from collectors_dagster.integrations.timescale.spotify_rows import FollowedRow, PlayRow, SavedRow, TrackRow

QUERIES = load_queries("spotify_library")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep over a whole list found in the end.

    Attributes
    ----------
    seen : int
        Rows that it met.
    removed : int
        Rows that it did not meet any more; 0 where nothing may be concluded from that.
    """

    seen: int
    removed: int


class SpotifyLibrary:
    """``core.spotify_play``, ``spotify_saved_track``, ``spotify_followed_artist`` and the tracks they name."""

    def __init__(self, pulls: SpotifyPulls) -> None:
        self._pulls = pulls

    def write_plays(self, mark: Mark, tracks: Sequence[TrackRow], plays: Sequence[PlayRow]) -> int:
        """Add a page of plays; return how many are new."""
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["tracks"], tracks)
            return page.changed(QUERIES["plays"], plays)

    def write_saved(self, mark: Mark, tracks: Sequence[TrackRow], saved: Sequence[SavedRow], *, sweep: datetime) -> int:
        """Add a page of saved tracks, met by the sweep that began at `sweep`; return how many are new."""
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["tracks"], tracks)
            row = page.execute(QUERIES["saved"], saved, seen_at=sweep)
        return int(row[0]) if row else 0

    def seen_saved(self, mark: Mark, *, sweep: datetime) -> int:
        """Return how many saved tracks a sweep has met."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["seen"], seen_at=sweep)
        return int(row[0]) if row else 0

    def newest_saved(self, mark: Mark) -> datetime | None:
        """Return when the newest saved track was added."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["newest_saved"])
        return row[0] if row else None

    def end_sweep_of_saved(self, mark: Mark, *, sweep: datetime) -> Swept:
        """Say of tracks that a whole sweep did not meet that they were removed."""
        with self._pulls.page(mark) as page:
            seen = page.execute(QUERIES["seen"], seen_at=sweep)
            return Swept(int(seen[0]) if seen else 0, page.changed(QUERIES["unsave"], seen_at=sweep))

    def write_followed(self, mark: Mark, artists: Sequence[FollowedRow], *, sweep: datetime) -> int:
        """Add a page of followed artists; return how many are new."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["followed"], artists, seen_at=sweep)
        return int(row[0]) if row else 0

    def end_sweep_of_followed(self, mark: Mark, *, sweep: datetime) -> int:
        """Say of artists that a whole sweep did not meet that they are not followed any more; return how many."""
        with self._pulls.page(mark) as page:
            return page.changed(QUERIES["unfollow"], seen_at=sweep)
