"""The tenants' data."""

from collections.abc import Iterator

import dagster as dg

from collectors_dagster.integrations.timescale import Store
from resources.deployment import local_deployment
from resources.policies import database_guard_of_process

APPLICATION = "collectors-dagster"
CONNECTIONS = 2


@dg.resource(description="The tenants' data in PostgreSQL.")
def store_resource(context: dg.InitResourceContext) -> Iterator[Store]:
    """Yield a store that connects with its first query, and close it after the step or tick."""
    conninfo = local_deployment().settings.database_conninfo("collectors")
    guard = database_guard_of_process(in_run=context.run is not None)
    with Store(conninfo, application_name=APPLICATION, max_connections=CONNECTIONS, guard=guard) as store:
        yield store
