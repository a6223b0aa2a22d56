"""Webhooks: one HTTP POST, 5 seconds, no redirects.

An address often *is* the credential, so neither errors nor logs hold it: errors name the target instead.
"""

import logging
from datetime import datetime

import httpx

from collectors_dagster.errors import (
    CollectorsError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)
from collectors_dagster.integrations.notify.message import AlertMessage
from collectors_dagster.integrations.retry_after import retry_after_seconds

TIMEOUT_SECONDS = 5.0
_MAX_RETRY_AFTER_SECONDS = 3600.0
_OPERATION = "post"

for _name in ("httpx", "httpcore"):  # both log whole addresses, httpx already at the level info
    logging.getLogger(_name).setLevel(logging.WARNING)


def new_client(timeout_seconds: float) -> httpx.Client:
    """Return a client for :func:`post`; whoever made it closes it.

    Proxies and ``.netrc`` of the environment are not used: an alert goes where its tenant said, or nowhere.
    """
    return httpx.Client(timeout=timeout_seconds, follow_redirects=False, trust_env=False)


def post(client: httpx.Client, url: str, message: AlertMessage, *, service: str, now: datetime) -> None:
    """Post `message`; return if the other side accepted it.

    Parameters
    ----------
    service : str
        Names the target in errors, e.g. ``aurora/ops``.
    now : datetime
        Only used to read a ``Retry-After`` that is a date.

    Raises
    ------
    IntegrationError
        Of the kind that tells what went wrong; the address is not in it.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": message.id, "User-Agent": "collectors-dagster"}
    error: CollectorsError | None
    try:
        with client.stream("POST", url, content=message.model_dump_json(), headers=headers) as response:
            error = _refusal(response, service, now)
    except httpx.TimeoutException:
        error = ServiceTimeoutError(
            f"{service}: no answer within {client.timeout.read:g} s", service=service, operation=_OPERATION
        )
    except httpx.TransportError as problem:
        error = ServiceUnreachableError(
            f"{service}: no connection ({type(problem).__name__})", service=service, operation=_OPERATION
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
        error = RequestRejectedError(
            f"{service}: the request cannot be made ({type(problem).__name__}); check the target's url",
            service=service,
            operation=_OPERATION,
        )
    if error is not None:  # raised out here: the original error would carry the address along as its cause
        raise error


def _refusal(response: httpx.Response, service: str, now: datetime) -> CollectorsError | None:
    status = response.status_code
    if 200 <= status < 300:
        return None
    wait = retry_after_seconds(response.headers.get("Retry-After"), now, at_most=_MAX_RETRY_AFTER_SECONDS)
    if status == 429:
        return RateLimitedError(
            f"{service}: asked us to come back later (429)",
            service=service,
            operation=_OPERATION,
            retry_after_seconds=wait,
        )
    if status == 408:
        return ServiceTimeoutError(f"{service}: it timed out (408)", service=service, operation=_OPERATION)
    if status >= 500:
        return ServiceFailedError(
            f"{service}: it failed ({status})", service=service, operation=_OPERATION, retry_after_seconds=wait
        )
    hint = "redirects are not followed, name the final address" if 300 <= status < 400 else "check the target"
    return RequestRejectedError(f"{service}: refused ({status}); {hint}", service=service, operation=_OPERATION)
