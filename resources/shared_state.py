"""State that all runs, ticks and hosts share: breakers, limits, leases."""

import sys
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from collectors_dagster.patterns.lazy_store import LazyStore
from resources.deployment import local_deployment

if TYPE_CHECKING:
    from collectors_dagster.patterns.reporting_store import ReportingStore


class SharedState:
    """Opens the process's store of shared state when a policy first needs it; the driver is imported then."""

    def store(self) -> "ReportingStore":
        """Return the store of this process: what it knows of an outage outlives a tick."""
        return shared_store_of_process()


@cache
def shared_store_of_process() -> "ReportingStore":
    """Return this process's store, also for other resources whose policies share state."""
    from collectors_dagster.integrations.redis import reporting_store

    deployment = local_deployment()
    return reporting_store(deployment.settings, clock=deployment.clock)


@cache
def lazy_store_of_process() -> LazyStore:
    """Return the same store for policies that need it only when something fails, or when it is open anyway.

    The code server ticks for weeks, and the driver is 8 MB: as long as all is well it need not be told so by others.
    """
    return LazyStore(shared_store_of_process, loaded=lambda: "redis" in sys.modules)


@dg.resource(description="State that all processes share, in Redis.")
def shared_state_resource(context: dg.InitResourceContext) -> SharedState:
    """Return the shared state; its connections live as long as the process."""
    return SharedState()
