"""What MLflow knows only per process: how long it waits, and what it prints."""

import logging
from typing import Any, Protocol

from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)


class _Setting(Protocol):
    def set(self, value: Any) -> None: ...


_SETTINGS: tuple[tuple[_Setting, object], ...] = (
    (MLFLOW_HTTP_REQUEST_MAX_RETRIES, 2),  # its own default waits for minutes
    (MLFLOW_HTTP_REQUEST_TIMEOUT, 20),
    (MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, "true"),
    (MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, "false"),
)


def settle_process() -> None:
    """Bound what a server that is away may cost, and keep MLflow's chatter off our output."""
    for setting, value in _SETTINGS:
        setting.set(value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
