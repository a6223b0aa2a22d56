"""A day's snapshot of the artists that a tenant's users follow and hear."""

import asyncio

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import artist_row
from collectors_dagster.integrations.timescale.spotify_rows import ArtistRow

PAGE = 50


async def pull(work: Pulling) -> Pulled:
    """Snapshot the artists that have none of the day yet: in batches where the quota mode has them."""
    store, tenant_id = work.store.artists, work.scope.tenant_id
    wanted = await asyncio.to_thread(store.wanted, tenant_id, work.clock.now(), work.max_artists)
    done = await asyncio.to_thread(store.done, tenant_id, work.day)
    missing = [artist_id for artist_id in wanted if artist_id not in done]
    stored = [len(wanted) - len(missing)]
    new, changed, unknown = 0, 0, 0
    rows: list[ArtistRow] = []

    async def store_rows() -> tuple[int, int]:
        counts = await asyncio.to_thread(store.write, work.mark({"day": work.day.isoformat()}), rows, day=work.day)
        stored[0] += len(rows)
        rows.clear()
        work.progress("artists", stored[0], len(wanted))
        return counts

    async for artist_id, artist in work.client.many("artists", missing):
        if artist is None:
            unknown += 1
        else:
            rows.append(artist_row(artist_id, artist))
        if len(rows) >= PAGE:
            counts = await store_rows()
            new, changed = new + counts[0], changed + counts[1]
    if rows:
        counts = await store_rows()
        new, changed = new + counts[0], changed + counts[1]
    notes = (f"{unknown} artists are not known to Spotify any more",) if unknown else ()
    return Pulled(new=new, changed=changed, notes=notes, detail={"artists": len(wanted)})
