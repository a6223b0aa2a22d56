"""Dagster's GraphQL interface: which tenants have partitions, start a run, how is it.

The interface is not a stable API of Dagster's; the few fields used here are pinned by a test that runs them against
the real web server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import httpx

from collectors_dagster.errors import (
    IntegrationError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    UnexpectedResponseError,
)

SERVICE = "dagster"
LOCATION = "collectors_dagster"
REPOSITORY = "__repository__"
PARTITIONS = "tenant"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
TIMEOUT = httpx.Timeout(30.0, connect=5.0)

_KEYS = """
query Keys($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    __typename
    ... on AssetNode { partitionKeys }
    ... on AssetNotFoundError { message }
  }
}
"""
_ADD = """
mutation Add($key: String!, $name: String!, $selector: RepositorySelector!) {
  addDynamicPartition(partitionKey: $key, partitionsDefName: $name, repositorySelector: $selector) {
    __typename
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on Error { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_RUN = """
query Run($runId: ID!) {
  runOrError(runId: $runId) {
    __typename
    ... on Run {
      status
      assetMaterializations { assetKey { path } partition }
    }
    ... on Error { message }
  }
}
"""
_FAILURES = """
query Failures($runId: ID!) {
  logsForRun(runId: $runId) {
    ... on EventConnection {
      events {
        __typename
        ... on ExecutionStepFailureEvent { error { message causes: errorChain { error { message } } } }
        ... on RunFailureEvent { message error { message } }
      }
    }
  }
}
"""


class RunStatus(StrEnum):
    """How a run is, as far as somebody who waits is concerned."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether waiting longer changes nothing."""
        return self in {RunStatus.DONE, RunStatus.FAILED}


_STATUSES = {
    "SUCCESS": RunStatus.DONE,
    "FAILURE": RunStatus.FAILED,
    "CANCELED": RunStatus.FAILED,
    "STARTED": RunStatus.RUNNING,
    "CANCELING": RunStatus.RUNNING,
}


@dataclass(frozen=True, slots=True)
class RunState:
    """A run at one moment.

    Attributes
    ----------
    materialized : number of (asset, partition) pairs stored so far
    """

    status: RunStatus
    materialized: int


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run.

    Attributes
    ----------
    assets : empty for all assets of the job
    first, last : partition keys; equal for one partition
    """

    job: str
    assets: Sequence[str]
    first: str
    last: str
    tags: Mapping[str, str]


class Orchestrator:
    """A running Dagster web server.

    Parameters
    ----------
    url
        Of the web server, with its path prefix if it has one.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/graphql"
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def partitions(self, asset: str) -> list[str]:
        """Return an asset's partition keys; dynamic ones in the order in which they were inserted."""
        found = self._ask("list partitions", _KEYS, {"asset": {"path": [asset]}})["assetNodeOrError"]
        keys = _expected("list partitions", found, "AssetNode")["partitionKeys"]
        return [str(key) for key in keys]

    def add_partition(self, key: str) -> None:
        """Add a tenant's partition; one that exists is left as it is."""
        wanted = {"key": key, "name": PARTITIONS, "selector": _repository()}
        found = self._ask("add a partition", _ADD, wanted)["addDynamicPartition"]
        _expected("add a partition", found, "AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError")

    def launch(self, launch: Launch) -> str:
        """Queue a run and return its id."""
        found = self._ask("launch a run", _LAUNCH, {"params": _execution(launch)})["launchRun"]
        return str(_expected("launch a run", found, "LaunchRunSuccess")["run"]["runId"])

    def run(self, run_id: str) -> RunState:
        """Return how a run is."""
        found = self._ask("look at a run", _RUN, {"runId": run_id})["runOrError"]
        run = _expected("look at a run", found, "Run")
        status = _STATUSES.get(str(run["status"]), RunStatus.WAITING)
        return RunState(status, len(run["assetMaterializations"]))

    def why_failed(self, run_id: str) -> str:
        """Return what a failed run says, in one line."""
        found = self._ask("read a run's events", _FAILURES, {"runId": run_id})["logsForRun"]
        messages = [message for event in found.get("events", ()) for message in _messages(event)]
        return " ".join(messages[0].split()) if messages else "no reason was given"

    def _ask(self, operation: str, query: str, variables: Mapping[str, object]) -> dict[str, Any]:
        failed = f"cannot {operation} at {self._url}"
        try:
            reply = self._client.post(self._url, json={"query": query, "variables": variables})
        except httpx.TimeoutException as error:
            raise _error(ServiceTimeoutError, operation, f"{failed}: no answer in time") from error
        except httpx.HTTPError as error:
            message = f"{failed}: {type(error).__name__}; is the stack up? See `collectors status`"
            raise _error(ServiceUnreachableError, operation, message) from error
        if reply.status_code >= 500:
            raise _error(ServiceFailedError, operation, f"{failed}: HTTP {reply.status_code}")
        body = _json(reply)
        if not isinstance(body.get("data"), dict) or body.get("errors"):
            reason = f"{failed}: HTTP {reply.status_code}, {_first_error(body)}"
            raise _error(UnexpectedResponseError, operation, reason)
        return dict(body["data"])


def _error(kind: type[IntegrationError], operation: str, message: str) -> IntegrationError:
    return kind(message, service=SERVICE, operation=operation)


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        body = reply.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _first_error(body: Mapping[str, Any]) -> str:
    errors = body.get("errors")
    return str(errors[0].get("message", errors[0])) if errors else "an answer without data"


def _expected(operation: str, found: Mapping[str, Any], *types: str) -> Mapping[str, Any]:
    if found["__typename"] in types:
        return found
    errors = "; ".join(str(error["message"]) for error in found.get("errors", ()))
    reason = found.get("message") or errors or found["__typename"]
    raise _error(RequestRejectedError, operation, f"cannot {operation}: {reason}")


def _messages(event: Mapping[str, Any]) -> list[str]:
    error = event.get("error") or {}
    causes = [cause["error"]["message"] for cause in error.get("causes") or ()]
    own = [str(text) for text in (error.get("message"), event.get("message")) if text]
    return causes + own


def _execution(launch: Launch) -> dict[str, object]:
    tags = {**launch.tags, RANGE_START: launch.first, RANGE_END: launch.last}
    return {
        "selector": {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": launch.job,
            **({"assetSelection": [{"path": [asset]} for asset in launch.assets]} if launch.assets else {}),
            "assetCheckSelection": [],
        },
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }


def _repository() -> dict[str, str]:
    return {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
