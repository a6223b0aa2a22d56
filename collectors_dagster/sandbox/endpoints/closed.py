"""What Spotify closed in November 2024 for all applications but those that had it before: 403 in both quota modes."""

from collectors_dagster.sandbox.call import ApiError, Call, Route
from collectors_dagster.sandbox.rendering import Json


def closed(call: Call) -> Json:
    """Refuse."""
    raise ApiError(403, "Forbidden")


ROUTES = (
    Route("/v1/artists/{id}/related-artists", closed),
    Route("/v1/audio-features", closed),
    Route("/v1/audio-features/{id}", closed),
    Route("/v1/audio-analysis/{id}", closed),
    Route("/v1/recommendations", closed),
    Route("/v1/browse/featured-playlists", closed),
    Route("/v1/browse/categories/{category}/playlists", closed),
)
