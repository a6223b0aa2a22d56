"""Days of users: their top artists and tracks, their profiles."""

from collections.abc import Sequence
from datetime import date

from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, SpotifyPulls
from collectors_dagster.integrations.timescale.spotify_rows import ProfileRow, TopRow

QUERIES = load_queries("spotify_profiles")


class SpotifyProfiles:
    """``core.spotify_top_item`` and ``core.spotify_profile``."""

    def __init__(self, pulls: SpotifyPulls) -> None:
        self._pulls = pulls

    def write_top(self, mark: Mark, day: date, kind: str, time_range: str, items: Sequence[TopRow]) -> int:
        """Write a day's list in the place of what was there; return its length.

        Parameters
        ----------
        kind : str
            ``artists`` or ``tracks``.
        time_range : str
            ``short_term`` (4 weeks), ``medium_term`` (6 months) or ``long_term`` (a year).
        """
        of = {"day": day, "kind": kind, "time_range": time_range}
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["clear_top"], **of)
            return page.changed(QUERIES["top"], items, **of)

    def write_profile(self, mark: Mark, day: date, profile: ProfileRow) -> int:
        """Write a day's profile; return 1 if something of it is new."""
        with self._pulls.page(mark) as page:
            return page.changed(QUERIES["profile"], day=day, **profile)
