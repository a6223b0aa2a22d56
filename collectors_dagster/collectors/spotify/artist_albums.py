"""The releases of the artists that a tenant's users follow and hear.

Spotify lists an artist's albums by kind, then by date, so that a new single may stand on the last page. What tells that
there is one is the number of albums: where it is the one that is stored, the first page is enough.
"""

import asyncio

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import album_rows, items_of
from collectors_dagster.errors import SpotifyRejectedError, SpotifyUnavailableInModeError
from collectors_dagster.integrations.timescale.spotify_rows import AlbumRow

GROUPS = "album,single"
OF_THE_ARTIST = frozenset({400, 403, 404, 410})
"""Refusals that are of one artist; any other (401: of the token) is of the whole pull."""
LONGEST = {"extended": 50}
"""Albums of one page by quota mode."""
SHORT = 10
"""The same in development mode, and where it is not known."""


async def pull(work: Pulling) -> Pulled:
    """Store the albums of all artists, one artist after the other in the order of their ids."""
    position = work.left_of_today()
    wanted = sorted(
        await asyncio.to_thread(work.store.artists.wanted, work.scope.tenant_id, work.clock.now(), work.max_artists)
    )
    left = [artist_id for artist_id in wanted if artist_id > position.get("after", "")]
    limit = LONGEST.get((await work.client.capabilities()).mode, SHORT) if left else SHORT
    new, refused = 0, 0
    for number, artist_id in enumerate(left, start=len(wanted) - len(left) + 1):
        try:
            new += await _artist(work, artist_id, limit)
        except SpotifyUnavailableInModeError:
            raise
        except SpotifyRejectedError as error:
            if error.status not in OF_THE_ARTIST:
                raise
            refused += 1  # of this artist, say: it is not known any more
        work.progress("artists", number, len(wanted))
    notes = (f"the albums of {refused} artists cannot be read",) if refused else ()
    return Pulled(new=new, notes=notes, detail={"artists": len(wanted)})


async def _artist(work: Pulling, artist_id: str, limit: int) -> int:
    """Store an artist's albums: in one transaction with the mark that says who is next."""
    path = f"artists/{artist_id}/albums"
    albums: dict[str, AlbumRow] = {}
    params = {"include_groups": GROUPS}
    first = await work.client.get(path, {**params, "limit": limit, "offset": 0})
    items = items_of(first, path)
    albums.update((row["album_id"], row) for row in album_rows(items))
    now, tenant_id = work.clock.now(), work.scope.tenant_id
    known = await asyncio.to_thread(work.store.artists.known_albums, tenant_id, artist_id, now)
    if first.get("total") == len(known | albums.keys()):
        work.usable(album_rows(items), items)
    else:
        async for page in work.client.pages(path, params, limit=limit):
            albums.update((row["album_id"], row) for row in work.usable(album_rows(page.items), page.items))
    mark = work.mark({"day": work.day.isoformat(), "after": artist_id})
    return await asyncio.to_thread(work.store.artists.write_albums, mark, artist_id, list(albums.values()))
