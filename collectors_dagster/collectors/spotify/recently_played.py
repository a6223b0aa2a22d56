"""Plays: the only data that are lost when a pull is missed, because Spotify remembers no more than fifty."""

import asyncio

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import items_of, play_rows, tracks_of
from collectors_dagster.strategies.spotify_datasets import RECENT_PLAYS, may_have_lost

PATH = "me/player/recently-played"


async def pull(work: Pulling) -> Pulled:
    """Store all plays that Spotify remembers: one request, whatever was stored before."""
    items = items_of(await work.client.get(PATH, {"limit": RECENT_PLAYS}), PATH)
    plays, tracks = work.usable(play_rows(items), items), tracks_of(items, "track")
    newest = max((play["played_at"] for play in plays), default=work.start.position.get("newest"))
    position = {"newest": newest}
    new = await asyncio.to_thread(work.store.library.write_plays, work.mark(position), tracks, plays)
    work.progress("plays", new, len(plays))
    lost = may_have_lost(new, len(plays), known_before=work.start.completed_at is not None)
    notes = ("all plays were new: earlier ones may be missing",) if lost else ()
    return Pulled(position, new=new, gap=lost, notes=notes, detail={"returned": len(items)})
