"""The log as a target."""

import structlog

from collectors_dagster.integrations.notify.message import AlertKind, AlertMessage

_log = structlog.stdlib.get_logger("collectors.alerts")


def write(message: AlertMessage) -> None:
    """Write `message` as one line, at the level ``warning``; a resolution at ``info``."""
    say = _log.info if message.kind is AlertKind.RESOLVED else _log.warning
    fields = message.incident or message.failure
    say(
        "alert",
        alert_id=message.id,
        kind=message.kind.value,
        tenant=message.tenant.id,
        text=message.text,
        **({"detail": fields.model_dump(mode="json")} if fields else {}),
    )
