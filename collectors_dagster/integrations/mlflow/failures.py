"""The border at which MLflow's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException

from collectors_dagster.errors import (
    CollectorsError,
    IntegrationError,
    ModelNotFoundError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)
from collectors_dagster.patterns.circuit_breaker import Outcome, failed_if_transient

SERVICE = "mlflow"
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_TIMEOUT_WORDS = "failed with timeout exception"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_absent(error: MlflowException) -> bool:
    """Say whether MLflow answered that the thing asked for does not exist."""
    return error.error_code in _ABSENT


def _kind(error: MlflowException) -> type[IntegrationError]:
    """Return the most specific class of ours."""
    causes = list(_causes(error))
    if any(isinstance(one, requests.exceptions.Timeout) for one in causes):
        return ServiceTimeoutError
    if any(isinstance(one, requests.exceptions.ConnectionError) for one in causes):
        return ServiceUnreachableError
    status = ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500)
    if status == 504:
        return ServiceTimeoutError
    if status == 429:
        return RateLimitedError
    return RequestRejectedError if 400 <= status < 500 else ServiceFailedError


def translated(error: Exception, operation: str) -> CollectorsError:
    """Return our error for one of MLflow's or of its HTTP client's."""
    if isinstance(error, MlflowException) and is_absent(error):
        return ModelNotFoundError(f"{operation}: MLflow knows no such model, version or alias")
    if isinstance(error, MlflowException):
        kind = _kind(error)
    elif isinstance(error, requests.exceptions.Timeout):
        kind = ServiceTimeoutError
    else:
        kind = ServiceUnreachableError
    message = f"{operation} failed on MLflow: is it running, and is mlflow.tracking_uri right?"
    return kind(message, service=SERVICE, operation=operation)


@contextmanager
def mlflow_errors(operation: str) -> Iterator[None]:
    """Let nothing of MLflow's out.

    Raises
    ------
    ModelNotFoundError, IntegrationError
        With MLflow's own error as the cause.
    """
    try:
        yield
    except (MlflowException, requests.exceptions.RequestException) as error:
        raise translated(error, operation) from error


def meaning(error: Exception) -> Outcome:
    """Return what an error says of MLflow's health; a fault of ours on the way, a file that is missing say, is none."""
    return failed_if_transient(error) if isinstance(error, CollectorsError) else Outcome.IGNORED
