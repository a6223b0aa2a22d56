"""Playlists and their items."""

from functools import partial

from collectors_dagster.sandbox.call import ApiError, Call, Route
from collectors_dagster.sandbox.drifting import Entry
from collectors_dagster.sandbox.fields import FieldsError, Selection
from collectors_dagster.sandbox.playlists import Playlist
from collectors_dagster.sandbox.rendering import Json


def playlist(call: Call) -> Json:
    """Return a playlist with its first items; in development mode, those of others come without any."""
    found, renderer = _playlist(call), call.renderer()
    entries = found.items.at(call.now)
    answer = renderer.playlist(found, len(entries)) | {"followers": {"href": None, "total": found.followers}}
    del answer["items"]
    answer.pop("tracks", None)
    if _shows_items(call, found):
        answer["items"] = _page(call, found, "items", most=50)
        if call.is_extended:
            answer["tracks"] = _page(call, found, "tracks", most=100)
    return _selected(call, answer)


def items(call: Call) -> Json:
    """Return the items of a playlist; in development mode only for who owns it or works on it."""
    return _selected(call, _listed(call, _readable(call), ("item",), most=50))


def tracks(call: Call) -> Json:
    """Return the same under the name of before, a hundred at a time."""
    return _selected(call, _listed(call, _readable(call), ("track",), most=100))


def _readable(call: Call) -> Playlist:
    found = _playlist(call)
    if not _shows_items(call, found):
        raise ApiError(403, "Forbidden: items are returned only for playlists that the user owns or collaborates on")
    return found


def _playlist(call: Call) -> Playlist:
    found = call.everything.playlists.of(call.identifier())
    if found is None:
        raise ApiError(404, "Resource not found")
    if found.public:
        return found
    user_id = call.user.id if call.user else None
    if not found.is_of(user_id):
        raise ApiError(404, "Resource not found")
    scope = "playlist-read-collaborative" if found.collaborative else "playlist-read-private"
    if scope not in call.token.scopes:
        raise ApiError(403, "Insufficient client scope")
    return found


def _shows_items(call: Call, found: Playlist) -> bool:
    return call.is_extended or found.is_of(call.user.id if call.user else None)


def _listed(call: Call, found: Playlist, names: tuple[str, ...], *, most: int) -> Json:
    return call.page(found.items.at(call.now), partial(_item, call, names=names), most=most)


def _page(call: Call, found: Playlist, name: str, *, most: int) -> Json:
    """Return the first page that a playlist carries, with the addresses of its own endpoint."""
    entries = found.items.at(call.now)
    names = ("track",) if name == "tracks" else ("item",)
    path = f"{call.base_url}/v1/playlists/{found.id}/{name}?limit={most}&offset="
    return {
        "href": f"{path}0",
        "items": [_item(call, entry, names=names) for entry in entries[:most]],
        "limit": most,
        "next": f"{path}{most}" if len(entries) > most else None,
        "offset": 0,
        "previous": None,
        "total": len(entries),
    }


def _item(call: Call, entry: Entry, *, names: tuple[str, ...]) -> Json:
    added_by = call.everything.listeners.all[entry.added_by]
    return call.renderer().playlist_item(entry, added_by, names)


def _selected(call: Call, answer: Json) -> Json:
    fields = call.request.query.get("fields")
    if not fields:
        return answer
    try:
        found: Json = Selection.parsed(fields).of(answer)
    except FieldsError as error:
        raise ApiError(400, f"Invalid fields: {error}") from error
    return found


ROUTES = (
    Route("/v1/playlists/{id}", playlist, kept_as="personal"),
    Route("/v1/playlists/{id}/items", items, kept_as="personal"),
    Route("/v1/playlists/{id}/tracks", tracks, kept_as="personal", in_development=False),
)
