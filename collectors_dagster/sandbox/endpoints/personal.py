"""What belongs to the user whose token it is."""

from datetime import UTC, datetime
from functools import partial

from collectors_dagster.sandbox.call import ApiError, Call, Route
from collectors_dagster.sandbox.drifting import Entry
from collectors_dagster.sandbox.listeners import TIME_RANGES, Play
from collectors_dagster.sandbox.playlists import Playlist
from collectors_dagster.sandbox.rendering import Json, instant


def profile(call: Call) -> Json:
    """Return the user."""
    return call.renderer().profile(call.listener, call.token.scopes)


def playlists(call: Call) -> Json:
    """Return the playlists that the user owns, works on or follows."""
    renderer = call.renderer()
    visible = [each for each in call.everything.playlists.library(call.listener.id) if _is_visible(call, each)]
    return call.page(visible, lambda each: renderer.playlist(each, len(each.items.at(call.now))))


def saved_tracks(call: Call) -> Json:
    """Return the tracks in the user's library, the latest first."""
    renderer, world = call.renderer(), call.everything.world

    def item(entry: Entry) -> Json:
        return {"added_at": instant(entry.added_at), "track": renderer.track(world.track(entry.thing))}

    return call.page(call.listener.saved_tracks.at(call.now), item)


def saved_albums(call: Call) -> Json:
    """Return the albums in the user's library, the latest first."""
    renderer, world = call.renderer(), call.everything.world

    def item(entry: Entry) -> Json:
        return {"added_at": instant(entry.added_at), "album": renderer.album(world.album(entry.thing))}

    return call.page(call.listener.saved_albums.at(call.now), item)


def following(call: Call) -> Json:
    """Return the artists that the user follows, by identifier; `after` is the last one seen."""
    if call.text("type", "Missing required field: type") != "artist":
        raise ApiError(400, "Invalid type")
    renderer, world = call.renderer(), call.everything.world
    limit = call.number("limit", 20, 1, 50)
    followed = sorted((world.artist(e.thing) for e in call.listener.followed.at(call.now)), key=lambda one: one.id)
    after = call.request.query.get("after", "")
    left = [artist for artist in followed if artist.id > after]
    page, more = left[:limit], len(left) > limit
    last = page[-1].id if more else None
    return {
        "artists": {
            "href": call.address(limit=limit, **({"after": after} if after else {})),
            "items": [renderer.artist(artist) for artist in page],
            "limit": limit,
            "next": call.address(limit=limit, after=last) if more else None,
            "cursors": {"after": last},
            "total": len(followed),
        }
    }


def top_artists(call: Call) -> Json:
    """Return the user's favourite artists."""
    renderer, world = call.renderer(), call.everything.world
    return call.page(_top(call, "artists"), lambda index: renderer.artist(world.artist(index)))


def top_tracks(call: Call) -> Json:
    """Return the user's favourite tracks."""
    renderer, world = call.renderer(), call.everything.world
    return call.page(_top(call, "tracks"), lambda index: renderer.track(world.track(index)))


def recently_played(call: Call) -> Json:
    """Return plays, the latest first, among the last 50 that are remembered."""
    query, renderer = call.request.query, call.renderer()
    if "after" in query and "before" in query:
        raise ApiError(400, "Only one of 'after' and 'before' may be given")
    limit = call.number("limit", 20, 1, 50)
    after, before = call.number("after", -1, 0), call.number("before", 1 << 60, 0)
    remembered = call.everything.listeners.recent_plays(call.listener, call.now)
    left = [play for play in remembered if after < _milliseconds(play) < before]
    page = left[:limit]
    given = {name: query[name] for name in ("after", "before") if name in query}
    more = len(left) > limit
    return {
        "href": call.address(limit=limit, **given),
        "items": [renderer.play(play) for play in page],
        "limit": limit,
        "next": call.address(limit=limit, before=_milliseconds(page[-1])) if more else None,
        "cursors": {"after": str(_milliseconds(page[0])), "before": str(_milliseconds(page[-1]))} if page else None,
    }


def _top(call: Call, kind: str) -> list[int]:
    time_range = call.request.query.get("time_range", "medium_term")
    if time_range not in TIME_RANGES:
        raise ApiError(400, "Invalid time range")
    return call.everything.listeners.top(call.listener, kind, time_range, call.now.date())


def _is_visible(call: Call, playlist: Playlist) -> bool:
    if playlist.collaborative:
        return "playlist-read-collaborative" in call.token.scopes
    return playlist.public or "playlist-read-private" in call.token.scopes


def _milliseconds(play: Play) -> int:
    since = play.played_at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_user = partial(Route, needs_user=True, kept_as="personal")

ROUTES = (
    _user("/v1/me", profile),
    _user("/v1/me/playlists", playlists),
    _user("/v1/me/tracks", saved_tracks, scopes=("user-library-read",)),
    _user("/v1/me/albums", saved_albums, scopes=("user-library-read",)),
    _user("/v1/me/following", following, scopes=("user-follow-read",)),
    _user("/v1/me/top/artists", top_artists, scopes=("user-top-read",)),
    _user("/v1/me/top/tracks", top_tracks, scopes=("user-top-read",)),
    _user("/v1/me/player/recently-played", recently_played, scopes=("user-read-recently-played",)),
)
