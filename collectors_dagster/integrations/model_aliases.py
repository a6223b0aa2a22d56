"""MLflow's aliases over its REST interface: what a sensor asks twice a minute.

Not through MLflow's own client: that would cost the code server 145 MB for a question of two hundred bytes.
"""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from collectors_dagster.errors import (
    IntegrationError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)

SERVICE = "mlflow"
TIMEOUT_SECONDS = 5.0
_PAGE = 1000
_MOST_BYTES = 64 * 2**20

Aliases = Mapping[str, Mapping[str, str]]
"""Registered model to alias to version."""


class ModelAliases:
    """Reads and sets aliases.

    Parameters
    ----------
    tracking_uri : str
        Of the MLflow server.
    environment : mapping
        MLflow's own variables ``MLFLOW_TRACKING_TOKEN``, or ``..._USERNAME`` and ``..._PASSWORD``, let us in where the
        server asks for them; they appear in no message.
    """

    def __init__(self, tracking_uri: str, environment: Mapping[str, str] | None = None) -> None:
        self._base = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models"
        self._headers = {"Content-Type": "application/json", **_authorization(environment or {})}
        # Straight to the server that the settings name, as MLflow's client of ours does.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def all(self) -> Aliases:
        """Return the aliases of every registered model; a model without any is there with none.

        Raises
        ------
        IntegrationError
            MLflow failed, or did not answer within five seconds.
        """
        found: dict[str, dict[str, str]] = {}
        token = ""
        while True:
            query = urllib.parse.urlencode({"max_results": _PAGE} | ({"page_token": token} if token else {}))
            page = self._asked(f"{self._base}/search?{query}", "reading the models' aliases")
            for model in page.get("registered_models", ()):
                found[str(model["name"])] = {str(one["alias"]): str(one["version"]) for one in model.get("aliases", ())}
            token = str(page.get("next_page_token") or "")
            if not token:
                return found

    def set(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version.

        Raises
        ------
        IntegrationError
            As :meth:`all`; also if there is no such version.
        """
        body = json.dumps({"name": name, "alias": alias, "version": version}).encode()
        self._asked(f"{self._base}/alias", f"setting {alias} of {name}", body)

    def _asked(self, url: str, operation: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(url, body, self._headers)  # noqa: S310  # the settings allow http(s) only
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                content = json.loads(answer.read(_MOST_BYTES) or b"{}")
        except (OSError, ValueError) as error:
            raise _translated(error, operation) from error
        if not isinstance(content, dict):
            raise _failure(ServiceFailedError, operation, "its answer is no JSON object")
        return content


def _authorization(environment: Mapping[str, str]) -> dict[str, str]:
    user, password = (environment.get(f"MLFLOW_TRACKING_{one}") for one in ("USERNAME", "PASSWORD"))
    if user and password:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _translated(error: Exception, operation: str) -> IntegrationError:
    if isinstance(error, urllib.error.HTTPError):
        kind = RequestRejectedError if 400 <= error.code < 500 else ServiceFailedError
        return _failure(kind, operation, f"it answered {error.code}")
    if isinstance(error, ValueError):
        return _failure(ServiceFailedError, operation, "its answer is no JSON")
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return _failure(ServiceTimeoutError, operation, f"no answer within {TIMEOUT_SECONDS:g} s")
    return _failure(ServiceUnreachableError, operation, "is it running, and is mlflow.tracking_uri right?")


def _failure(kind: type[IntegrationError], operation: str, why: str) -> IntegrationError:
    return kind(f"{operation} failed on MLflow: {why}", service=SERVICE, operation=operation)
