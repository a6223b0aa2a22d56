"""The way out for alerts."""

import random
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from resources.deployment import local_deployment
from resources.shared_state import shared_store_of_process

if TYPE_CHECKING:
    from collectors_dagster.integrations.notify import AlertMessage, Notifier
    from collectors_dagster.tenants import AlertTarget


class Outbox:
    """Sends by the process's :class:`Notifier`, opened for the first alert: circuits of targets outlive a tick.

    A tick without news loads neither the HTTP client nor Redis' driver: together 12 MB of the code server.
    """

    def send(self, target: "AlertTarget", message: "AlertMessage") -> None:
        """Send as :meth:`Notifier.send` does."""
        _notifier().send(target, message)


@cache
def _notifier() -> "Notifier":
    from collectors_dagster.integrations.notify import Notifier

    deployment = local_deployment()
    jitter = random.SystemRandom()
    return Notifier(
        deployment.settings.patterns, clock=deployment.clock, random=jitter.random, store=shared_store_of_process()
    )


@dg.resource(description="Where alerts leave: the log and webhooks.")
def outbox_resource(context: dg.InitResourceContext) -> Outbox:
    """Return the outbox; its connections live as long as the process."""
    return Outbox()
