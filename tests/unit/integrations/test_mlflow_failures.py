"""Every way in which MLflow fails has one name of ours, and the right answer to "again?"."""

import pytest
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
from collectors_dagster.integrations.mlflow.failures import mlflow_errors


class CodedError(MlflowException):
    """What MLflow raises for an answer with this error code."""

    def __init__(self, code: str) -> None:
        super().__init__("something")
        self.error_code = code


def translated(error: Exception, cause: Exception | None = None) -> CollectorsError:
    with pytest.raises(CollectorsError) as caught, mlflow_errors("asking"):
        raise error from cause
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("code", sorted(ERROR_CODE_TO_HTTP_STATUS))
def test_every_error_code_has_its_class(code: str) -> None:
    status = ERROR_CODE_TO_HTTP_STATUS[code]
    found = translated(CodedError(code))
    if code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
        assert isinstance(found, ModelNotFoundError)
        return
    special = {429: RateLimitedError, 504: ServiceTimeoutError}
    assert type(found) is special.get(status, ServiceFailedError if status >= 500 else RequestRejectedError)
    assert isinstance(found, IntegrationError)
    assert (found.service, found.operation) == ("mlflow", "asking")
    assert found.transient is (status >= 500 or status == 429)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (requests.exceptions.ConnectionError("refused"), ServiceUnreachableError),
        (requests.exceptions.ReadTimeout("slow"), ServiceTimeoutError),
        (requests.exceptions.ConnectTimeout("slow"), ServiceTimeoutError),
    ],
)
def test_what_lies_under_mlflows_own_error_is_seen(cause: Exception, kind: type[CollectorsError]) -> None:
    assert type(translated(MlflowException("API request failed"), cause)) is kind
    assert type(translated(cause)) is kind


def test_other_errors_pass_untouched() -> None:
    with pytest.raises(KeyError), mlflow_errors("asking"):
        raise KeyError("ours")
