"""The sandbox in a process of its own: says where it is, and obeys lines of JSON on standard input."""

import json
import sys
from dataclasses import asdict, replace
from typing import Any

from collectors_dagster.clock import SystemClock
from collectors_dagster.sandbox import Fault, RateLimit, SandboxOptions
from collectors_dagster.sandbox.options import WorldOptions
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox


def main() -> None:
    """Serve until the input ends."""
    told = json.loads(sys.argv[1])
    world = WorldOptions(artists=600, listeners=1, playlists=1, large_playlist_items=told["items"], drift=False)
    options = SandboxOptions(mode=told["mode"], limit=None, world=world, latency_seconds=told["latency"])
    with running_spotify_sandbox(options, clock=SystemClock()) as sandbox:
        say(
            {
                "api_url": sandbox.api_url,
                "account": sandbox.app.account,
                "app_token": sandbox.token(),
                "user_token": sandbox.token(sandbox.users[0]),
                "artists": list(sandbox.world.artist_ids(500)),
                "playlist": sandbox.large_playlist_id,
            }
        )
        for line in sys.stdin:
            say(obeyed(sandbox, json.loads(line)))


def obeyed(sandbox: SpotifySandbox, order: dict[str, Any]) -> dict[str, Any]:
    """Do one thing and tell what came of it."""
    if order["do"] == "begin":
        sandbox.clear_faults()
        sandbox.reset_counts()
        sandbox.set_limit(RateLimit(**order["limit"]) if order["limit"] else None)
        if order.get("fault"):
            sandbox.fault(replace(Fault("empty"), **order["fault"]))
        if order.get("ban"):
            sandbox.ban(order["ban"])
    return asdict(sandbox.counts())


def say(what: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
