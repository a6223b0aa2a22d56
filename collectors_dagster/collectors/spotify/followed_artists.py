"""The artists whom a user follows: by cursor, so that nothing is skipped while the list changes."""

import asyncio

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import followed_rows

PATH = "me/following"
PAGE = 50


async def pull(work: Pulling) -> Pulled:
    """Store the whole list; who is not met any more is not followed any more."""
    from collectors_dagster.integrations.spotify.paging import Position  # noqa: PLC0415  # httpx

    position, library = work.left_of_today(), work.store.library
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
