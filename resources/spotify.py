"""Spotify for assets: each pull in an event loop of its own, with clients that are opened when they are needed."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from collectors_dagster.strategies.spotify_datasets import Dataset
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment
from resources.shared_state import shared_store_of_process

if TYPE_CHECKING:
    from collectors_dagster.collectors.spotify.runner import Opening, Outcome, Puller
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.patterns.shared_state import SharedStore


class Spotify:
    """Pulls datasets; the HTTP client is imported with the first one.

    Parameters
    ----------
    shared : callable
        Opens the place where all processes keep limits and bans.
    """

    def __init__(self, shared: "Callable[[], SharedStore]" = shared_store_of_process) -> None:
        self._shared = shared

    def puller(self, deployment: Deployment, store: "Store", tenant: Tenant, day: date, partition: str) -> "Puller":
        """Return what pulls for a tenant; what has to wait is started again as `partition`."""
        from collectors_dagster.collectors.spotify.runner import Puller

        return Puller(
            tenant=tenant,
            store=store,
            opening=self.opening(deployment, store),
            clock=deployment.clock,
            day=day,
            partition=partition,
        )

    def pull(self, puller: "Puller", dataset: Dataset) -> "list[Outcome]":
        """Pull a dataset to its end, or until it is put off."""
        return asyncio.run(puller.pull(dataset))

    def opening(self, deployment: Deployment, store: "Store") -> "Opening":
        """Return what opens clients of a deployment."""
        from collectors_dagster.collectors.spotify.opening import Opener

        return Opener(deployment.settings, store, self._shared(), deployment.clock)


@dg.resource(description="The tenants' Spotify data, by the Web API or by the local sandbox.")
def spotify_resource(context: dg.InitResourceContext) -> Spotify:
    """Return the way to Spotify; nothing is connected before the first pull."""
    return Spotify()
