"""Saved tracks: daily from the newest down to what is known, weekly all of them, because only that shows removals."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import Item, saved_rows, tracks_of
from collectors_dagster.integrations.timescale.spotify_rows import SavedRow

PATH = "me/tracks"
PAGE = 50
WHOLE_EVERY = timedelta(days=7)


async def pull(work: Pulling) -> Pulled:
    """Go on with what was begun; else read all if that is due, and what is new if not."""
    position = dict(work.start.position)
    if "sweep" in position or ("until" not in position and _is_due(work, position)):
        return await _sweep(work, position)
    return await _newest(work, position)


def _is_due(work: Pulling, position: dict[str, Any]) -> bool:
    swept = position.get("swept_at")
    return work.whole or swept is None or work.clock.now() - datetime.fromisoformat(swept) >= WHOLE_EVERY


async def _sweep(work: Pulling, position: dict[str, Any]) -> Pulled:
    """Read all; if nobody changed the list meanwhile and every entry told what it is, what was not met was removed."""
    from collectors_dagster.integrations.spotify.consistency import list_read  # noqa: PLC0415  # httpx
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # loaded with the first pull

    sweep, library = work.sweep_of(position), work.store.library
    start = Position.from_dict(position["page"]) if "page" in position else None
    newest, new, left_out = position.get("newest", ""), 0, position.get("left_out", 0)
    read = await list_read(work.client, PATH, limit=PAGE, start=start)
    if read.restarted:
        sweep, left_out = work.clock.now(), 0  # what was met before may be gone by now
    async for page in read:
        rows = work.usable(saved_rows(page.items), page.items)
        left_out += len(page.items) - len(rows)
        newest = max([newest, *(row["added_at"] for row in rows)])
        where = {"sweep": sweep.isoformat(), "newest": newest, "left_out": left_out, "page": page.position.as_dict()}
        tracks = tracks_of(page.items, "track")
        new += await asyncio.to_thread(library.write_saved, work.mark(where), tracks, rows, sweep=sweep)
        work.progress("tracks", page.offset + len(page.items), page.total)
    verdict = read.verdict
    assert verdict is not None  # all pages came
    after = {"newest": newest, "swept_at": sweep.isoformat()}
    if not verdict.stable:
        note = f"the list changed while it was read ({verdict.reason}): no track is taken for removed"
        return Pulled({"newest": newest}, new=new, notes=(note,), detail={"total": verdict.total})
    if left_out:
        note = "not every entry said which track it is: no track is taken for removed"
        return Pulled(after, new=new, notes=(note,), detail={"total": verdict.total})
    swept = await asyncio.to_thread(library.end_sweep_of_saved, work.mark(after), sweep=sweep)
    return Pulled(after, new=new, removed=swept.removed, detail={"total": verdict.total, "stored": swept.seen})


async def _newest(work: Pulling, position: dict[str, Any]) -> Pulled:
    """Read from the newest to the newest that was known when this began, however often it was interrupted.

    The mark of what is known moves only at the end: else a pull that is killed after its first page would make the next
    one believe that all below is known.
    """
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # httpx

    until, new, now = position.get("until", position.get("newest", "")), 0, work.clock.now()
    newest, totals = position["newest"], set()
    kept = {"swept_at": position.get("swept_at"), "until": until}
    start = Position.from_dict(position["page"]) if "page" in position else None
    async for page in work.client.pages(PATH, {}, limit=PAGE, start=start):
        rows = work.usable(saved_rows(page.items), page.items)
        if page.offset == 0:
            newest = max([newest, *(row["added_at"] for row in rows)])
        where = {**kept, "newest": newest, "page": page.position.as_dict()}
        new += await _store(work, where, page.items, rows, now)
        totals.add(page.total)
        if _reached(rows, until):
            break
    if len(totals) > 1:  # what was removed meanwhile moved others up, past the pages that were read
        note = "the list changed while it was read: the next pull reads as far down again"
        return Pulled({"newest": until, "swept_at": kept["swept_at"]}, new=new, notes=(note,))
    return Pulled({"newest": newest, "swept_at": kept["swept_at"]}, new=new)


async def _store(
    work: Pulling, where: dict[str, Any], items: list[Item], rows: Sequence[SavedRow], seen_at: datetime
) -> int:
    tracks = tracks_of(items, "track")
    new = await asyncio.to_thread(work.store.library.write_saved, work.mark(where), tracks, rows, sweep=seen_at)
    work.progress("tracks", len(rows), None)
    return new


def _reached(rows: Sequence[SavedRow], until: str) -> bool:
    return any(row["added_at"] <= until for row in rows)
