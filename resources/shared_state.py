"""State that all runs, ticks and hosts share: breakers, limits, leases."""

from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from resources.deployment import local_deployment

if TYPE_CHECKING:
    from collectors_dagster.patterns.guarded_store import GuardedStore


class SharedState:
    """Opens the process's store of shared state when a policy first needs it; the driver is imported then."""

    def store(self) -> "GuardedStore":
        """Return the store of this process: what it knows of an outage outlives a tick."""
        return shared_store_of_process()


@cache
def shared_store_of_process() -> "GuardedStore":
    """Return this process's store, also for other resources whose policies share state."""
    from collectors_dagster.integrations.redis import shared_store

    deployment = local_deployment()
    return shared_store(deployment.settings, clock=deployment.clock)


@dg.resource(description="State that all processes share, in Redis.")
def shared_state_resource(context: dg.InitResourceContext) -> SharedState:
    """Return the shared state; its connections live as long as the process."""
    return SharedState()
