"""One HTTP request to Spotify's accounts service or profile: bounded in time and size, no redirects, nothing logged."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import httpx

from collectors_dagster.errors import (
    CollectorsError,
    RequestRejectedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.retry_after import retry_after_seconds
from collectors_dagster.integrations.spotify.oauth import SERVICE

TIMEOUT_SECONDS = 10.0
"""For the whole of a request, from the connection to the last byte of the answer."""
_LONGEST_PAUSE_SECONDS = 86_400.0
"""A longer ``Retry-After`` is taken for so long."""
_CONNECT_SECONDS = 5.0
_MOST_BYTES = 64 * 1024

for _name in ("httpx", "httpcore"):  # both log whole addresses, httpx already at the level info
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def pause_seconds(self, now: datetime) -> float | None:
        """Return the pause that it asks for; `now` is only used to read a date."""
        return retry_after_seconds(self.headers.get("retry-after"), now, at_most=_LONGEST_PAUSE_SECONDS)


def ask(
    method: str,
    url: str,
    *,
    operation: str,
    headers: Mapping[str, str],
    form: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Reply:
    """Send one request and return its answer, whatever its status.

    For threads without an event loop: it runs one, because only that bounds a whole answer and not each of its parts.

    Parameters
    ----------
    operation : str
        What is being tried, for the error's message.

    Raises
    ------
    ServiceTimeoutError, ServiceUnreachableError
        If no whole answer came: it is not known whether the service acted.
    UnexpectedResponseError
        If the answer is larger than any that we expect.
    """
    problem: CollectorsError
    try:
        return asyncio.run(_asked(_Question(method, url, headers, form), timeout_seconds, operation))
    except (TimeoutError, httpx.TimeoutException):
        problem = ServiceTimeoutError(
            f"{SERVICE}: no whole answer to {operation} within {timeout_seconds:g} s",
            service=SERVICE,
            operation=operation,
        )
    except httpx.TransportError as error:
        problem = ServiceUnreachableError(
            f"{SERVICE}: no connection, or it was cut, at {operation} ({type(error).__name__})",
            service=SERVICE,
            operation=operation,
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        problem = RequestRejectedError(
            f"{SERVICE}: {operation} cannot be asked ({type(error).__name__}); check spotify.accounts_url",
            service=SERVICE,
            operation=operation,
        )
    raise problem  # out here: the original error holds the request, and with it what is secret


@cache
def _trust() -> ssl.SSLContext:
    """Return whom we trust: read once, because it costs more than a request."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str] | None


async def _asked(question: _Question, timeout_seconds: float, operation: str) -> Reply:
    limits = httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))
    headers = {"Accept": "application/json", "User-Agent": "collectors-dagster", **question.headers}
    async with (
        asyncio.timeout(timeout_seconds),
        httpx.AsyncClient(verify=_trust(), timeout=limits, follow_redirects=False, trust_env=False) as client,
        client.stream(question.method, question.url, headers=headers, data=question.form) as response,
    ):
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MOST_BYTES:
                text = f"{SERVICE}: answered {operation} with more than {_MOST_BYTES} bytes"
                raise UnexpectedResponseError(text, service=SERVICE, operation=operation)
        return Reply(response.status_code, dict(response.headers), bytes(body))
