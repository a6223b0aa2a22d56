"""Asking a running agent over its endpoint."""

import http.client
import json
from typing import Any, cast
from urllib.parse import urlsplit

from collectors_dagster.agent.status import read_status, status_path
from collectors_dagster.config import Settings
from collectors_dagster.config.sections import checked_address
from collectors_dagster.errors import ConfigurationError, ServiceUnreachableError, UnexpectedResponseError

TIMEOUT_SECONDS = 5.0


class AgentSource:
    """One agent's endpoint.

    Parameters
    ----------
    url : str
        E.g. ``http://127.0.0.1:19100``.

    Raises
    ------
    ConfigurationError
        If it is no address.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(checked_address(url))
        except ValueError as error:
            raise ConfigurationError(f"--url {url[:80]!r}: {error}") from None
        self.url = url
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname or "", parts.port, parts.path.rstrip("/")

    def state(self) -> dict[str, Any]:
        """Return everything that the agent knows of itself."""
        return self._asked("/v1/state")

    def history(self, metrics: tuple[str, ...]) -> dict[str, Any]:
        """Return the last minute of some metrics."""
        return self._asked(f"/v1/history?metrics={','.join(metrics)}")

    def _asked(self, path: str) -> dict[str, Any]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", self._base + path)
            reply = connection.getresponse()
            status, body = reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.url, error) from error
        finally:
            connection.close()
        return _read(self.url, path, status, body)


def local_agent_url(settings: Settings) -> str:
    """Return where the agent of this home says it can be asked; before it has said so, where it is going to.

    Raises
    ------
    ConfigurationError
        If it serves nothing.
    SpoolError
        If no agent ever ran here.
    """
    told = read_status(status_path(settings.home)).get("endpoint", settings.agent_url)
    if not told:
        raise ConfigurationError(
            "the agent serves no endpoint: set agent.endpoint_enabled to true (COLLECTORS__AGENT__ENDPOINT_ENABLED) "
            "and restart it; `collectors agent status` works without"
        )
    return str(told)


def _unreachable(url: str, error: Exception) -> ServiceUnreachableError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    message = f"the agent does not answer at {url}: {reason}; `collectors agent status` says whether it runs"
    return ServiceUnreachableError(message, service="agent", operation="state")


def _read(url: str, path: str, status: int, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body) if status == http.client.OK else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = (
            f"{url}{path.partition('?')[0]} is not an agent's: it answered with status {status}; check the address"
        )
        raise UnexpectedResponseError(message, service="agent", operation="state")
    return cast("dict[str, Any]", found)
