"""Playlists: as listed, as read item by item, and what changed between two readings.

A reading is shown only when it is whole and verified; one that could not be is kept as unstable with the reason, and
never mixed with another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.spotify_library import QUERIES as LIBRARY
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, PageWriter, SpotifyPulls
from collectors_dagster.integrations.timescale.spotify_rows import ItemRow, PlaylistRow, TrackRow
from collectors_dagster.strategies.playlist_diff import PlaylistDiff, diff

QUERIES = load_queries("spotify_playlists")

Entry = tuple[str | None, datetime | None, str | None]
"""What makes an entry the same in two readings: track, when and by whom it was added."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of one snapshot.

    Attributes
    ----------
    complete : bool
        It is whole already: nothing is to be read.
    """

    key: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """What a whole reading holds, and how it differs from the whole one before; the first differs in nothing."""

    items: int
    added: int
    removed: int
    moved: int
    first: bool


class SpotifyPlaylists:
    """``core.spotify_playlist``, ``_snapshot``, ``_item`` and ``_change``."""

    def __init__(self, pulls: SpotifyPulls) -> None:
        self._pulls = pulls

    def write_listed(self, mark: Mark, playlists: Sequence[PlaylistRow], *, sweep: datetime) -> int:
        """Write a page of the user's list of playlists; return how many are new."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["listed"], playlists, seen_at=sweep)
        return int(row[0]) if row else 0

    def end_listing(self, mark: Mark, *, sweep: datetime) -> int:
        """Say of playlists that a whole listing did not meet that they are gone; return how many."""
        with self._pulls.page(mark) as page:
            return page.changed(QUERIES["unlisted"], seen_at=sweep)

    def changed(self, mark: Mark) -> list[tuple[str, str]]:
        """Return playlist and snapshot where the items that are stored are not those of the listed snapshot."""
        with self._pulls.page(mark) as page:
            return [(row[0], row[1]) for row in page.all(QUERIES["changed"])]

    def unreadable(self, mark: Mark, playlist_id: str, reason: str | None) -> None:
        """Say why the items of a playlist cannot be read; None: they can."""
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["unreadable"], playlist_id=playlist_id, reason=reason)

    def start(self, mark: Mark, playlist_id: str, snapshot_id: str, *, anew: bool) -> Reading:
        """Begin a reading of a snapshot, or find the one that was begun; `anew` forgets what it has read."""
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["drop_others"], playlist_id=playlist_id, snapshot_id=snapshot_id)
            row = page.execute(QUERIES["start"], playlist_id=playlist_id, snapshot_id=snapshot_id)
            assert row is not None
            reading = Reading(int(row[0]), row[1] == "complete")
            if anew and not reading.complete:
                page.execute(QUERIES["clear"], snapshot_key=reading.key)
        return reading

    def write_items(self, mark: Mark, reading: Reading, tracks: Sequence[TrackRow], items: Sequence[ItemRow]) -> int:
        """Write a page of items; one that was read before is replaced. Return how many rows are new or changed."""
        with self._pulls.page(mark) as page:
            page.execute(LIBRARY["tracks"], tracks)
            return page.changed(QUERIES["items"], items, snapshot_key=reading.key)

    def finish(self, mark: Mark, reading: Reading, snapshot_id: str, *, items: int) -> Finished:
        """End a reading that is whole.

        Parameters
        ----------
        snapshot_id : str
            Which snapshot it turned out to be: the playlist may have changed between listing and reading.
        items : int
            What Spotify says it holds; entries beyond are forgotten.

        Raises
        ------
        ValueError
            If other than `items` entries were stored: the caller missed a page.
        """
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["trim"], snapshot_key=reading.key, items=items)
            new = _entries(page, reading.key)
            if len(new) != items:
                raise ValueError(f"{len(new)} items of {items} were stored; a reading is whole or not at all")
            page.execute(QUERIES["same"], snapshot_key=reading.key, snapshot_id=snapshot_id)
            page.execute(QUERIES["name"], snapshot_key=reading.key, snapshot_id=snapshot_id)
            page.execute(QUERIES["name_listed"], snapshot_key=reading.key, items=items)
            before = page.execute(QUERIES["before"], snapshot_key=reading.key)
            changes: PlaylistDiff[Entry] = diff(_entries(page, before[0]), new) if before else PlaylistDiff()
            page.execute(QUERIES["clear_changes"], snapshot_key=reading.key)
            page.execute(QUERIES["changes"], _change_rows(changes), snapshot_key=reading.key)
            counts = {name: len(getattr(changes, name)) if before else None for name in ("added", "removed", "moved")}
            whole = {"state": "complete", "reason": None, "items": items}
            page.execute(QUERIES["end"], snapshot_key=reading.key, **whole, **counts)
        return Finished(items, len(changes.added), len(changes.removed), len(changes.moved), before is None)

    def give_up(self, mark: Mark, reading: Reading, reason: str) -> None:
        """End a reading that could not be verified: its items are forgotten, the reason is kept."""
        unknown = {"items": 0, "added": None, "removed": None, "moved": None}
        with self._pulls.page(mark) as page:
            page.execute(QUERIES["clear"], snapshot_key=reading.key)
            page.execute(QUERIES["end"], snapshot_key=reading.key, state="unstable", reason=reason, **unknown)


def _entries(page: PageWriter, snapshot_key: int) -> list[Entry]:
    return [(row[0], row[1], row[2]) for row in page.all(QUERIES["read"], snapshot_key=snapshot_key)]


def _change_rows(changes: PlaylistDiff[Entry]) -> list[dict[str, object]]:
    found = [
        *(("added", None, one.position, one.entry) for one in changes.added),
        *(("removed", one.old_position, None, one.entry) for one in changes.removed),
        *(("moved", one.old_position, one.position, one.entry) for one in changes.moved),
    ]
    return [
        {
            "number": number,
            "kind": kind,
            "old_position": old_position,
            "position": position,
            "track_uri": track_uri,
            "added_at": added_at and added_at.isoformat(),
            "added_by": added_by,
        }
        for number, (kind, old_position, position, (track_uri, added_at, added_by)) in enumerate(found)
    ]
