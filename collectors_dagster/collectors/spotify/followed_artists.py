"""The artists whom a user follows: by cursor, so that nothing is skipped while the list changes."""

import asyncio
from typing import Any

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import followed_rows
from collectors_dagster.errors import IncompleteResponseError

PATH = "me/following"
PAGE = 50


async def pull(work: Pulling) -> Pulled:
    """Store the whole list; who is not met any more is not followed any more.

    A list that grew above the cursor ends before its total: it is read once more from the beginning.
    """
    position = work.left_of_today()
    try:
        return await _read(work, dict(position))
    except IncompleteResponseError:
        return await _read(work, {"day": position["day"]})


async def _read(work: Pulling, position: dict[str, Any]) -> Pulled:
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # httpx

    library = work.store.library
    sweep = work.sweep_of(position)
    position["sweep"] = sweep.isoformat()
    start = Position.from_dict(position["page"]) if "page" in position else None
    new, met, total = 0, position.get("met", 0), None
    async for page in work.client.pages(PATH, {"type": "artist"}, limit=PAGE, start=start, key="artists"):
        rows, total = work.usable(followed_rows(page.items), page.items), page.total
        met += len(rows)
        mark = work.mark({**position, "page": page.position.as_dict(), "met": met})
        new += await asyncio.to_thread(library.write_followed, mark, rows, sweep=sweep)
        work.progress("artists", met, total)
    if total is not None and met < total:
        note = f"{met} of {total} artists came: nobody is taken for unfollowed"
        return Pulled(new=new, notes=(note,), detail={"artists": met})
    removed = await asyncio.to_thread(library.end_sweep_of_followed, work.mark({}), sweep=sweep)
    return Pulled(new=new, removed=removed, detail={"artists": met})
