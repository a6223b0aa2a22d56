"""The user's top artists and tracks over four weeks, six months and a year."""

import asyncio
from contextlib import aclosing
from itertools import product

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import Item, top_rows

LISTS = tuple(product(("artists", "tracks"), ("short_term", "medium_term", "long_term")))
LONGEST = 50
"""Entries of one list: further ones have come back empty for years."""


async def pull(work: Pulling) -> Pulled:
    """Store the day's lists that are not stored yet."""
    position = work.left_of_today()
    stored = 0
    for number, (kind, time_range) in enumerate(LISTS):
        if number < position.get("lists", 0):
            continue
        path = f"me/top/{kind}"
        items: list[Item] = []
        pages = work.client.pages(path, {"time_range": time_range}, limit=LONGEST)
        async with aclosing(pages):
            async for page in pages:
                items += page.items
                if len(items) >= LONGEST:
                    break
        items = items[:LONGEST]
        mark, rows = work.mark({**position, "lists": number + 1}), work.usable(top_rows(items), items)
        stored += await asyncio.to_thread(work.store.profiles.write_top, mark, work.day, kind, time_range, rows)
        work.progress("lists", number + 1, len(LISTS))
    return Pulled(new=stored)
