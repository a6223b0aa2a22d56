"""What MLflow knows only per process: how long it waits, what it prints, and whom it tells about us (nobody)."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from mlflow.environment_variables import (
    MLFLOW_DISABLE_TELEMETRY,
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)
from mlflow.telemetry import set_telemetry_client


class _Setting(Protocol):
    def set(self, value: Any) -> None: ...


_SETTINGS: tuple[tuple[_Setting, object], ...] = (
    (MLFLOW_HTTP_REQUEST_MAX_RETRIES, 2),  # its own default waits for minutes
    (MLFLOW_HTTP_REQUEST_TIMEOUT, 20),
    (MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, "true"),
    (MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, "false"),
    (MLFLOW_DISABLE_TELEMETRY, "true"),
)

_choose_telemetry: Callable[[], object] = set_telemetry_client


def settle_process() -> None:
    """Bound what a server that is away may cost, keep MLflow's chatter off our output, and send no usage data."""
    for setting, value in _SETTINGS:
        setting.set(value)
    _choose_telemetry()  # again: it looked at the setting when MLflow was imported
    logging.getLogger("mlflow").setLevel(logging.WARNING)
