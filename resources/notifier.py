"""The way out for alerts."""

from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from resources.deployment import local_deployment
from resources.policies import policies_of_process
from resources.shared_state import lazy_store_of_process

if TYPE_CHECKING:
    from collectors_dagster.integrations.notify import AlertMessage, Notifier
    from collectors_dagster.tenants import AlertTarget


class Outbox:
    """Sends by the process's :class:`Notifier`, opened for the first alert: circuits of targets outlive a tick.

    A tick without news loads neither the HTTP client nor Redis' driver: together 12 MB of the code server. The first
    alert shares state: what a target said with ``Retry-After`` holds for every process.
    """

    def send(self, target: "AlertTarget", message: "AlertMessage") -> None:
        """Send as :meth:`Notifier.send` does."""
        _notifier().send(target, message)


@cache
def _notifier() -> "Notifier":
    from collectors_dagster.integrations.notify import Notifier

    lazy_store_of_process().wake()
    return Notifier(policies_of_process(), clock=local_deployment().clock)


@dg.resource(description="Where alerts leave: the log and webhooks.")
def outbox_resource(context: dg.InitResourceContext) -> Outbox:
    """Return the outbox; its connections live as long as the process."""
    return Outbox()
