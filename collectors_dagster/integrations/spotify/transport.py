"""One attempt: a GET, its answer read to the end and checked, and what went wrong as one of our errors.

A body counts only when it is complete: of the announced length and type, whole JSON, an object. Redirects are refused.
The token goes into one header of one host; errors name the endpoint and never hold an address, a header or what the
driver says, which could hold both.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from collectors_dagster.clock import Clock
from collectors_dagster.errors import (
    CollectorsError,
    IncompleteResponseError,
    IntegrationError,
    RateLimitedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    SpotifyRejectedError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.retry_after import retry_after_seconds
from collectors_dagster.integrations.spotify.memory import JsonObject
from collectors_dagster.integrations.spotify.options import ClientOptions

SERVICE = "spotify"
LONGEST_PAUSE_SECONDS = 7 * 86_400.0
_MESSAGE_LENGTH = 200
_NOTHING_PLAYS = "me/player"
"""Answers 204 where nothing is played: the one endpoint whose empty answer is one."""

for _name in ("httpx", "httpcore"):  # they log whole addresses, and at the level debug headers
    logging.getLogger(_name).setLevel(logging.WARNING)


class NotSentError(ServiceUnreachableError):
    """No connection could be made: nothing was sent, and nothing was counted there."""


class RefusedError(RateLimitedError):
    """Status 429, from the API itself."""


class QuotaError(RefusedError):
    """The same because the quota of hours or days is used up."""


class TokenRejectedError(SpotifyRejectedError):
    """Status 401: the token is not valid any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; of one that had not changed (304) without a body.

    Attributes
    ----------
    max_age_seconds : float or None
        How long it may be used without asking; ``None``: it must not be kept.
    """

    body: bytes | None
    document: JsonObject | None
    etag: str | None
    max_age_seconds: float | None


class Transport:
    """Connections to one host, kept alive; for the coroutines of one event loop."""

    def __init__(self, options: ClientOptions, *, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._base = httpx.URL(options.api_url.rstrip("/") + "/")
        limits = httpx.Limits(max_connections=options.in_flight, max_keepalive_connections=options.in_flight)
        timeout = httpx.Timeout(options.read_seconds, connect=options.connect_seconds, pool=options.attempt_seconds)
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "collectors-dagster"}
        # Proxies and .netrc of the environment are not used: a token goes to the one host that was named.
        self._client = httpx.AsyncClient(
            limits=limits, timeout=timeout, headers=headers, follow_redirects=False, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def url(self, path: str, params: Mapping[str, str | int]) -> httpx.URL:
        """Return the one spelling of an address: parameters in order."""
        return self._base.join(path).copy_with(params=httpx.QueryParams(sorted((k, str(v)) for k, v in params.items())))

    async def get(self, path: str, url: httpx.URL, token: SecretStr, etag: str | None) -> Reply:
        """Send one request and read its answer.

        Raises
        ------
        NotSentError, ServiceUnreachableError, ServiceTimeoutError, ServiceFailedError, IncompleteResponseError
            Transient ones.
        RefusedError, QuotaError
            On 429, with the pause that was named.
        TokenRejectedError, SpotifyRejectedError
            On 401, on other 4xx.
        UnexpectedResponseError
            On a redirect.
        """
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
        if etag is not None:
            headers["If-None-Match"] = etag
        answer: Reply | CollectorsError
        try:
            async with asyncio.timeout(self._options.attempt_seconds):
                answer = await self._exchange(path, url, headers)
        except TimeoutError:
            answer = _timed_out(path, self._options.attempt_seconds)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as problem:
            answer = NotSentError(f"{path}: no connection ({type(problem).__name__})", service=SERVICE, operation=path)
        except httpx.TimeoutException:
            answer = _timed_out(path, self._options.read_seconds)
        except httpx.RemoteProtocolError:
            answer = IncompleteResponseError(f"{path}: the answer was cut off", service=SERVICE, operation=path)
        except httpx.TransportError as problem:
            answer = ServiceUnreachableError(
                f"{path}: the connection broke ({type(problem).__name__})", service=SERVICE, operation=path
            )
        except httpx.DecodingError:
            answer = IncompleteResponseError(f"{path}: the answer is damaged", service=SERVICE, operation=path)
        if isinstance(answer, Reply):
            return answer
        raise answer  # out here: the driver's error would carry the request along, and its header

    async def _exchange(self, path: str, url: httpx.URL, headers: dict[str, str]) -> Reply | CollectorsError:
        async with self._client.stream("GET", url, headers=headers) as response:
            pieces, size = [], 0
            async for piece in response.aiter_bytes():
                size += len(piece)
                if size > self._options.largest_body:
                    return UnexpectedResponseError(f"{path}: an answer too large", service=SERVICE, operation=path)
                pieces.append(piece)
        body = b"".join(pieces)
        status = response.status_code
        if status == 200:
            return self._complete(path, response, body)
        if status == 304 and "If-None-Match" in headers:
            return Reply(None, None, response.headers.get("ETag"), _max_age(response))
        if status == 204 and path.startswith(_NOTHING_PLAYS):
            return Reply(b"{}", {}, None, None)
        return self._failure(path, response, _said(body, headers["Authorization"]))

    def _complete(self, path: str, response: httpx.Response, body: bytes) -> Reply | CollectorsError:
        kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        problem = None
        document: Any = None
        if kind != "application/json":
            problem = "is not JSON by its type"
        elif not body:
            problem = "is empty"
        else:
            try:
                document = from_json(body, allow_inf_nan=False)
            except ValueError:
                problem = "is not whole JSON"
            else:
                if not isinstance(document, dict):
                    problem = "is no JSON object"
                elif not document or document.get("error"):
                    problem = "says nothing, or tells of an error with status 200"
        if problem is not None:
            return IncompleteResponseError(f"{path}: the answer {problem}", service=SERVICE, operation=path)
        return Reply(body, document, response.headers.get("ETag"), _max_age(response))

    def _failure(self, path: str, response: httpx.Response, said: str) -> CollectorsError:
        status = response.status_code
        if 400 <= status < 500 and status not in {408, 429}:
            kind = TokenRejectedError if status == 401 else SpotifyRejectedError
            return kind(f"{path}: refused ({status}): {said}", operation=path, status=status)
        named = response.headers.get("Retry-After")
        wait = retry_after_seconds(named, self._clock.now(), at_most=LONGEST_PAUSE_SECONDS)
        problem = f"{path}: it failed ({status})"
        failed: type[IntegrationError] = ServiceFailedError
        if status == 429:
            failed = QuotaError if "QUOTA_EXCEEDED" in said else RefusedError
            problem = f"{path}: too many requests (429)"
        elif status == 408:
            failed, problem = ServiceTimeoutError, f"{path}: it timed out (408)"
        elif 300 <= status < 400 and status != 304:
            failed = UnexpectedResponseError
            problem = f"{path}: a redirect ({status}), which is not followed; check the address of the service"
        elif status < 500:
            failed, problem = IncompleteResponseError, f"{path}: an answer of no use (status {status})"
        return failed(problem, service=SERVICE, operation=path, retry_after_seconds=wait)


def _timed_out(path: str, seconds: float) -> ServiceTimeoutError:
    return ServiceTimeoutError(f"{path}: no answer within {seconds:g} s", service=SERVICE, operation=path)


def _max_age(response: httpx.Response) -> float | None:
    """Read how long an answer may be used without asking (RFC 9111, 5.2.2).

    ``no-cache`` and no word at all: it may be kept, but not used unasked.
    """
    words = [word.strip().lower() for word in response.headers.get("Cache-Control", "").split(",")]
    if "no-store" in words:
        return None
    if "no-cache" in words:
        return 0.0
    for word in words:
        name, _, value = word.partition("=")
        if name == "max-age" and value.isascii() and value.isdigit():
            age = response.headers.get("Age", "0")
            passed = int(age) if age.isascii() and age.isdigit() else 0
            return float(max(0, min(int(value), 365 * 86_400) - passed))
    return 0.0


def _said(body: bytes, secret: str) -> str:
    """Return what the service says about a failure, fit to be shown; never the token, even if it repeats it."""
    try:
        document = from_json(body)
    except ValueError:
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    parts = [error.get("message"), error.get("reason")] if isinstance(error, dict) else [error]
    if isinstance(document, dict):
        parts += [document.get("reason"), document.get("error_description")]
    said = " ".join(part for part in parts if isinstance(part, str))
    said = said.replace(secret.removeprefix("Bearer "), "[hidden]")
    return "".join(letter for letter in said if letter.isprintable())[:_MESSAGE_LENGTH] or "no reason given"
