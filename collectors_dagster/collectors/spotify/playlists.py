"""Playlists: listed daily, read only where they changed, stored only if nobody changed them while they were read."""

import asyncio
from dataclasses import dataclass
from typing import Any

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import item_rows, playlist_rows, tracks_of
from collectors_dagster.errors import SpotifyRejectedError

PATH = "me/playlists"
PAGE = 50
OF_THE_LIST = frozenset({403, 404, 410})
"""Refusals that are of one playlist; any other (401: of the token) is of the whole pull."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A playlist whose items are to be read.

    Attributes
    ----------
    kept : what of the position holds for all playlists
    page : where a reading that was begun goes on; None for the beginning
    """

    playlist_id: str
    snapshot_id: str
    kept: dict[str, Any]
    page: dict[str, Any] | None


async def pull(work: Pulling) -> Pulled:
    """List the user's playlists, then read those whose items are older than the listed snapshot."""
    position = work.left_of_today()
    new, gone = (0, 0) if position.get("listed") else await _list(work, position)
    listed = {"day": position["day"], "listed": True}
    changed = await asyncio.to_thread(work.store.playlists.changed, work.mark({**position, **listed}))
    counts: Counts = dict.fromkeys(("read", "added", "removed", "moved", "items", "unstable", "unreadable"), 0)
    notes: list[str] = []
    for number, (playlist_id, snapshot_id) in enumerate(changed, start=1):
        page = position.get("page") if position.get("playlist") == playlist_id else None
        note = await _read(work, _Wanted(playlist_id, snapshot_id, listed, page), counts)
        if note:
            notes.append(f"{playlist_id}: {note}")
        work.progress("playlists", number, len(changed))
    changes = counts["added"] + counts["removed"] + counts["moved"]
    return Pulled(new=new, changed=changes, removed=gone, notes=tuple(notes), detail=counts)


async def _list(work: Pulling, position: dict[str, Any]) -> tuple[int, int]:
    """Store the list; return how many playlists are new, and how many are gone."""
    from collectors_dagster.integrations.spotify.consistency import list_read  # noqa: PLC0415  # httpx
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # loaded with the first pull

    sweep, store = work.sweep_of(position), work.store.playlists
    kept = {"day": position["day"], "sweep": sweep.isoformat()}
    start = Position.from_dict(position["page"]) if "page" in position else None
    new, left_out = 0, position.get("left_out", 0)
    read = await list_read(work.client, PATH, limit=PAGE, start=start)
    if read.restarted:
        sweep, left_out = work.clock.now(), 0
        kept["sweep"] = sweep.isoformat()
    async for page in read:
        rows = work.usable(playlist_rows(page.items), page.items)
        left_out += len(page.items) - len(rows)
        mark = work.mark({**kept, "left_out": left_out, "page": page.position.as_dict()})
        new += await asyncio.to_thread(store.write_listed, mark, rows, sweep=sweep)
        work.progress("listed", page.offset + len(page.items), page.total)
    # If somebody adds and removes playlists meanwhile, or an entry does not say which it is, none is taken for gone.
    if left_out or not read.verdict or not read.verdict.stable:
        return new, 0
    return new, await asyncio.to_thread(store.end_listing, work.mark({**kept, "listed": True}), sweep=sweep)


async def _read(work: Pulling, wanted: _Wanted, counts: Counts) -> str | None:
    """Read one playlist; return what a person should know, if anything."""
    store = work.store.playlists
    try:
        note = await _read_items(work, wanted, counts)
    except SpotifyRejectedError as error:
        if error.status not in OF_THE_LIST:
            raise
        counts["unreadable"] += 1
        await asyncio.to_thread(store.unreadable, work.mark(wanted.kept), wanted.playlist_id, str(error))
        return "its items cannot be read by this application"
    await asyncio.to_thread(store.unreadable, work.mark(wanted.kept), wanted.playlist_id, None)
    return note


async def _read_items(work: Pulling, wanted: _Wanted, counts: Counts) -> str | None:
    from collectors_dagster.integrations.spotify.consistency import playlist_read  # noqa: PLC0415  # httpx
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # loaded with the first pull

    store, kept = work.store.playlists, wanted.kept
    started = {**kept, "playlist": wanted.playlist_id}
    start = Position.from_dict(wanted.page) if wanted.page else None
    _, read = await playlist_read(work.client, wanted.playlist_id, start=start)
    reading = await asyncio.to_thread(
        store.start, work.mark(started), wanted.playlist_id, wanted.snapshot_id, anew=start is None or read.restarted
    )
    async for page in read:
        mark = work.mark({**started, "page": page.position.as_dict()})
        tracks, items = tracks_of(page.items, "item", "track"), item_rows(page.items, page.offset)
        await asyncio.to_thread(store.write_items, mark, reading, tracks, items)
        work.progress("items", page.offset + len(items), page.total)
    verdict = read.verdict
    assert verdict is not None  # all pages came
    if not verdict.stable:
        counts["unstable"] += 1
        reason = verdict.reason or "it changed while it was read"
        await asyncio.to_thread(store.give_up, work.mark(kept), reading, reason)
        return f"unstable: {reason}"
    done = await asyncio.to_thread(store.finish, work.mark(kept), reading, verdict.version, items=verdict.total)
    for name in ("items", "added", "removed", "moved"):
        counts[name] += getattr(done, name)
    counts["read"] += 1
    return None
