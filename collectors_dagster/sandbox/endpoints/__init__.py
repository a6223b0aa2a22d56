"""The endpoints of the Web API: one small file per area, and the table of them all."""

from collectors_dagster.sandbox.call import Route
from collectors_dagster.sandbox.endpoints import catalogue, closed, personal, playlists, search

ROUTES: tuple[Route, ...] = (*catalogue.ROUTES, *playlists.ROUTES, *personal.ROUTES, *search.ROUTES, *closed.ROUTES)
