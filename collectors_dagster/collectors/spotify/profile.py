"""The profile of a connected user."""

import asyncio

from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling
from collectors_dagster.collectors.spotify.rows import profile_row


async def pull(work: Pulling) -> Pulled:
    """Store the day's profile."""
    profile = profile_row(await work.client.get("me"))
    changed = await asyncio.to_thread(work.store.profiles.write_profile, work.mark({}), work.day, profile)
    work.progress("profiles", 1, 1)
    return Pulled(new=changed)
