"""A local Spotify: a server that answers as the Web API and its accounts service do, from an invented world.

For development, the demo and tests. It knows nothing of our client, so that it can judge it: no module of this room
imports `integrations`, and nothing but the command line and the tests imports this room. What belongs here: the world,
its endpoints, the limits, and whatever can go wrong on the wire. ``docs/spotify-sandbox.md`` is the user's page.
"""

from collectors_dagster.sandbox.faults import Fault, PlaylistChange
from collectors_dagster.sandbox.options import Quota, RateLimit, SandboxApp, SandboxOptions, WorldOptions

__all__ = ["Fault", "PlaylistChange", "Quota", "RateLimit", "SandboxApp", "SandboxOptions", "WorldOptions"]
