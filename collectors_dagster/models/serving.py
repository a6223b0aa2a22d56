"""The models as MLflow serves them: rows in, rows out. Named as the loader of every registered bundle.

Loading runs our code over json and npz files; nothing is unpickled.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from collectors_dagster.errors import ModelError
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import in_order
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models import anomaly, bundle, forecast
from collectors_dagster.records import ForecastPoint, ScoredMinute

LOADER = __name__
"""What :class:`~collectors_dagster.records.ModelPackage` names as its loader."""

Columns = Mapping[str, Sequence[object]]


class Served(Protocol):
    """A model that answers rows with rows."""

    def answer(self, frames: Sequence[SignalFrame]) -> dict[str, list[object]]:
        """Return the answer's columns to the rows of some hosts."""
        ...


class ServedDetector:
    """Scores rows; each host's earlier rows are the history of its later ones."""

    def __init__(self, detector: anomaly.TenantDetector) -> None:
        self._detector = detector

    def answer(self, frames: Sequence[SignalFrame]) -> dict[str, list[object]]:
        """Return score, state and the three first causes of every row."""
        minutes = [one for frame in frames for one in self._detector.detector(frame.host).score(frame, None)]
        causes: dict[str, list[object]] = {
            f"cause_{rank + 1}": [_cause(one, rank) for one in minutes] for rank in range(3)
        }
        return {
            "host": [one.host for one in minutes],
            "timestamp": [_naive(one.ts) for one in minutes],
            "anomaly_score": [one.score for one in minutes],
            "state": [one.state.value for one in minutes],
            **causes,
        }


class ServedForecaster:
    """Forecasts each host of the rows from its newest row on."""

    def __init__(self, forecaster: forecast.TenantForecaster) -> None:
        self._forecaster = forecaster

    def answer(self, frames: Sequence[SignalFrame]) -> dict[str, list[object]]:
        """Return mean and intervals by host, signal and instant."""
        points = [one for frame in frames for one in self._forecaster.forecast(frame, _newest(frame))]
        return {
            "host": [one.host for one in points],
            "signal": [one.signal for one in points],
            "timestamp": [_naive(one.ts) for one in points],
            **{name: [getattr(one, name) for one in points] for name in ("mean", "low80", "high80", "low95", "high95")},
        }


class Rows:
    """The adapter MLflow calls."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer rows with the columns ``host``, ``timestamp`` and any of the signals."""
        return pd.DataFrame(self._served.answer(frames_of({str(k): list(v) for k, v in model_input.items()})))


def _load_pyfunc(path: str) -> Rows:
    """Rebuild a served model from a bundle; the name and shape are MLflow's."""
    directory = Path(path)
    if bundle.read_manifest(directory, anomaly.KIND, forecast.KIND)["kind"] == anomaly.KIND:
        return Rows(ServedDetector(anomaly.TenantDetector.load(directory)))
    return Rows(ServedForecaster(forecast.TenantForecaster.load(directory)))


def frames_of(columns: Columns) -> list[SignalFrame]:
    """Return one frame per host of a table with the columns ``host``, ``timestamp`` and signals.

    Raises
    ------
    ModelError
        If a column is missing.
    """
    missing = {"host", "timestamp"} - set(columns)
    if missing:
        message = f"the rows lack {sorted(missing)}: give host, timestamp and the signals {list(SIGNALS)}"
        raise ModelError(message)
    hosts = np.array([str(one) for one in columns["host"]])
    ts = np.array([np.datetime64(_stamp(one), "s") for one in columns["timestamp"]])
    nothing: list[object] = [np.nan] * len(hosts)
    table = [np.array(columns.get(name, nothing), dtype=np.float64) for name in SIGNALS]
    values = np.column_stack(table)
    return [_frame(host, ts[hosts == host], values[hosts == host]) for host in sorted(set(hosts.tolist()))]


def _frame(host: str, ts: np.typing.NDArray[np.datetime64], values: np.typing.NDArray[np.float64]) -> SignalFrame:
    order = np.argsort(ts, kind="stable")
    return SignalFrame(host, ts[order], SIGNALS, values[order])


def columns_of(frame: SignalFrame) -> dict[str, list[object]]:
    """Return the table of a frame; the inverse of :func:`frames_of`."""
    stamps = [datetime.fromtimestamp(int(one), tz=UTC).replace(tzinfo=None) for one in frame.ts.astype(np.int64)]
    signals = dict(zip(SIGNALS, in_order(frame).T.tolist(), strict=True))
    return {"host": [frame.host] * len(stamps), "timestamp": list(stamps), **signals}


def _stamp(value: object) -> datetime:
    stamp = pd.Timestamp(str(value))
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return stamp.to_pydatetime(warn=False)


def _naive(ts: datetime) -> datetime:
    return ts.astimezone(UTC).replace(tzinfo=None)


def _newest(frame: SignalFrame) -> datetime:
    return datetime.fromtimestamp(int(frame.ts[-1].astype(np.int64)), tz=UTC)


def _cause(minute: ScoredMinute, rank: int) -> str:
    return minute.contributions[rank].signal if rank < len(minute.contributions) else ""


__all__ = ["LOADER", "ForecastPoint", "Rows", "ServedDetector", "ServedForecaster", "columns_of", "frames_of"]
