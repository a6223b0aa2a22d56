"""Artists, albums and tracks: the same for everybody."""

from collectors_dagster.sandbox.call import ApiError, Call, Route
from collectors_dagster.sandbox.rendering import Json
from collectors_dagster.sandbox.world import Album, Artist

GROUPS = ("album", "single", "appears_on", "compilation")


def artist(call: Call) -> Json:
    """Return one artist."""
    return call.renderer().artist(_artist(call))


def artists(call: Call) -> Json:
    """Return up to 50 artists; an unknown one is null."""
    renderer, world = call.renderer(), call.everything.world
    found = [world.artist_of(each) for each in call.ids(50)]
    return {"artists": [each and renderer.artist(each) for each in found]}


def artist_albums(call: Call) -> Json:
    """Return an artist's albums, the latest first."""
    renderer, chosen = call.renderer(), _artist(call)
    groups = call.request.query.get("include_groups", ",".join(GROUPS)).split(",")
    if not set(groups) <= set(GROUPS):
        raise ApiError(400, "Invalid include_groups")
    albums = [a for a in call.everything.world.albums_of(chosen, call.now.date()) if a.album_type in groups]
    default, most = (20, 50) if call.is_extended else (5, 10)
    return call.page(albums, lambda each: renderer.discography_album(each, chosen), default=default, most=most)


def top_tracks(call: Call) -> Json:
    """Return an artist's ten most popular tracks in a market."""
    call.text("market", "Missing required field: market")
    renderer, world, today = call.renderer(), call.everything.world, call.now.date()
    tracks = [track for each in world.albums_of(_artist(call), today) for track in world.tracks_of(each)]
    tracks.sort(key=lambda track: (-world.popularity(track, today), track.id))
    return {"tracks": [renderer.track(track) for track in tracks[:10]]}


def album(call: Call) -> Json:
    """Return one album."""
    return call.renderer().album(_album(call))


def albums(call: Call) -> Json:
    """Return up to 20 albums; an unknown one is null."""
    renderer, world = call.renderer(), call.everything.world
    found = [world.album_of(each, call.now.date()) for each in call.ids(20)]
    return {"albums": [each and renderer.album(each) for each in found]}


def album_tracks(call: Call) -> Json:
    """Return an album's tracks."""
    return call.page(call.everything.world.tracks_of(_album(call)), call.renderer().simple_track)


def track(call: Call) -> Json:
    """Return one track."""
    found = call.everything.world.track_of(call.identifier(), call.now.date())
    if found is None:
        raise ApiError(404, "Resource not found")
    return call.renderer().track(found)


def tracks(call: Call) -> Json:
    """Return up to 50 tracks; an unknown one is null."""
    renderer, world = call.renderer(), call.everything.world
    found = [world.track_of(each, call.now.date()) for each in call.ids(50)]
    return {"tracks": [each and renderer.track(each) for each in found]}


def new_releases(call: Call) -> Json:
    """Return the albums of the last weeks, at most a hundred."""
    renderer = call.renderer()
    found = call.everything.world.new_albums(call.now.date())[:100]
    return {"albums": call.page(found, renderer.simple_album)}


def _artist(call: Call) -> Artist:
    found = call.everything.world.artist_of(call.identifier())
    if found is None:
        raise ApiError(404, "Resource not found")
    return found


def _album(call: Call) -> Album:
    found = call.everything.world.album_of(call.identifier(), call.now.date())
    if found is None:
        raise ApiError(404, "Resource not found")
    return found


ROUTES = (
    Route("/v1/artists", artists, in_development=False),
    Route("/v1/artists/{id}", artist),
    Route("/v1/artists/{id}/albums", artist_albums),
    Route("/v1/artists/{id}/top-tracks", top_tracks, in_development=False),
    Route("/v1/albums", albums, in_development=False),
    Route("/v1/albums/{id}", album),
    Route("/v1/albums/{id}/tracks", album_tracks),
    Route("/v1/tracks", tracks, in_development=False),
    Route("/v1/tracks/{id}", track),
    Route("/v1/browse/new-releases", new_releases, in_development=False),
)
