"""Policies of this process for the systems that it calls.

A run shares state from its first call on, so that one which begins while a circuit is open makes no call at all. The
code server decides alone until something fails: see :func:`resources.shared_state.lazy_store_of_process`.
"""

import random
from functools import cache

from collectors_dagster.integrations.timescale.guard import DatabaseGuard, database_guard
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.patterns.policies import Policies
from resources.deployment import local_deployment
from resources.shared_state import lazy_store_of_process


@cache
def policies_of_process() -> Policies:
    """Return what makes the policies of this process."""
    deployment = local_deployment()
    return Policies(
        deployment.settings.patterns,
        clock=deployment.clock,
        random=random.SystemRandom().random,
        store=lazy_store_of_process(),
        metrics=process_metrics(),
    )


@cache
def database_guard_of_process(*, in_run: bool) -> DatabaseGuard:
    """Return the policies before the database.

    A run waits for it and repeats what can be repeated: nobody comes again soon. A tick does not: the next one will.
    """
    if in_run:
        lazy_store_of_process().wake()
    return database_guard(policies_of_process(), repeats=in_run)
