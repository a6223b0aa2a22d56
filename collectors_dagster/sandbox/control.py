"""``/sandbox``: what a test or a benchmark in another process may ask and order, in JSON. Not counted, not limited."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from collectors_dagster.sandbox.accounts import GrantError
from collectors_dagster.sandbox.faults import Fault, PlaylistChange
from collectors_dagster.sandbox.http import Answer, Request, json_answer
from collectors_dagster.sandbox.limiter import RATE
from collectors_dagster.sandbox.options import Quota, RateLimit
from collectors_dagster.sandbox.service import LABEL, Sandbox

_Order = Callable[[Sandbox, Any], Any]


def _about(sandbox: Sandbox, body: Any) -> Any:
    options, everything = sandbox.options, sandbox.everything
    now = sandbox.clock.now()
    return {
        "sandbox": "spotify",
        "note": "a local stand-in for Spotify: everything in it is invented",
        "mode": options.mode,
        "seed": options.seed,
        "now": now.isoformat(),
        "api_url": f"{sandbox.base_url}/v1",
        "accounts_url": sandbox.base_url,
        "apps": [{"client_id": app.client_id, "account": app.account} for app in options.apps],
        "users": [user.id for user in everything.listeners.all],
        "large_playlist": everything.playlists.large.id,
        "artists": options.world.artists,
    }


def _ids(sandbox: Sandbox, body: Any) -> Any:
    number = int(body.get("number", 500))
    world = sandbox.everything.world
    return {"artists": world.artist_ids(number), "albums": world.album_ids(number), "tracks": world.track_ids(number)}


def _requests(sandbox: Sandbox, body: Any) -> Any:
    return [asdict(record) for record in sandbox.requests()]


def _arm(sandbox: Sandbox, body: Any) -> Any:
    faults = [read_fault(each) for each in (body if isinstance(body, list) else [body])]
    sandbox.arm(*faults)
    return {"armed": len(faults)}


def _grant(sandbox: Sandbox, body: Any) -> Any:
    pkce = body.get("pkce", True)
    return sandbox.grant(body["user"], body.get("scopes"), body.get("client_id", ""), pkce=pkce).as_json()


def _token(sandbox: Sandbox, body: Any) -> Any:
    return {"access_token": sandbox.token(body.get("user"), body.get("scopes"), body.get("client_id", ""))}


def _play(sandbox: Sandbox, body: Any) -> Any:
    at = body.get("played_at")
    sandbox.add_play(body["user"], body.get("track", ""), datetime.fromisoformat(at) if at else None)


ORDERS: Mapping[str, _Order] = {
    "GET /sandbox": _about,
    "POST /sandbox/ids": _ids,
    "GET /sandbox/counts": lambda sandbox, _: asdict(sandbox.counts()),
    "GET /sandbox/requests": _requests,
    "POST /sandbox/reset": lambda sandbox, _: sandbox.reset_counts(),
    "POST /sandbox/faults": _arm,
    "DELETE /sandbox/faults": lambda sandbox, _: sandbox.faults.clear(),
    "PUT /sandbox/limit": lambda sandbox, body: sandbox.set_limit(RateLimit(**body) if body else None),
    "PUT /sandbox/quota": lambda sandbox, body: sandbox.set_quota(Quota(**body) if body else None),
    "POST /sandbox/ban": lambda sandbox, b: sandbox.ban(b["account"], float(b["seconds"]), b.get("reason", RATE)),
    "POST /sandbox/playlists": lambda sandbox, b: {"snapshot_id": sandbox.change_playlist(PlaylistChange(**b))},
    "POST /sandbox/plays": _play,
    "POST /sandbox/tokens": _token,
    "POST /sandbox/grants": _grant,
    "POST /sandbox/expire": lambda sandbox, body: sandbox.accounts.expire(body["access_token"]),
    "POST /sandbox/revoke": lambda sandbox, body: sandbox.accounts.revoke(body["refresh_token"]),
    "POST /sandbox/clock": lambda sandbox, body: sandbox.clock.move(float(body["seconds"])),
}


def controlled(sandbox: Sandbox, request: Request) -> Answer:
    """Carry out an order and return what came of it; a bad one is a 400 that says why."""
    order = ORDERS.get(f"{request.method} {request.path.rstrip('/')}")
    if order is None:
        return json_answer({"problem": "there is no such order", "orders": sorted(ORDERS)}, 404, LABEL)
    try:
        found = order(sandbox, json.loads(request.body or b"{}"))
    except (ValueError, TypeError, KeyError, AttributeError, GrantError) as error:
        return json_answer({"problem": f"{type(error).__name__}: {error}"}, 400, LABEL)
    return json_answer({"done": True} if found is None else found, 200, LABEL)


def read_fault(values: Mapping[str, Any]) -> Fault:
    """Return the fault that a JSON object describes: the fields of :class:`Fault`, those of `change` within.

    Raises
    ------
    ValueError, TypeError
        If a field is unknown, or its value out of range.
    """
    change = values.get("change")
    return Fault(**{**values, "change": PlaylistChange(**change) if change else None})
