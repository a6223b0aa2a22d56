"""Webhooks: one HTTP POST, 5 seconds, no redirects.

An address often *is* the credential, so neither errors nor logs hold it: errors name the target instead.
"""

import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
    wait = retry_after_seconds(response.headers.get("Retry-After"), now)
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


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header, in seconds or as a date (RFC 9110, 10.2.3); at most an hour.

    Examples
    --------
    >>> retry_after_seconds("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    >>> retry_after_seconds("soon", datetime(2026, 1, 1, tzinfo=UTC)) is None
    True
    """
    if header is None:
        return None
    try:
        seconds = float(header) if header.isascii() and header.isdigit() else _seconds_until(header, now)
    except ValueError:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
