"""The benchmark's plumbing, on a series and a scorer of its own: what is measured is what was said."""

from pathlib import Path

import pytest

from bench.models_forecast import FORECASTERS, SCORER, measured
from collectors_dagster.errors import ConfigurationError

SCORER_TEXT = """
import numpy as np, pandas as pd

def series(data):
    index = pd.date_range("2026-01-01", periods=300, freq="1h")
    noise = np.random.default_rng(0).normal(0, 1, 300)
    return {"one": (pd.Series(10 * np.sin(np.arange(300) / 24 * 2 * np.pi) + noise, index), 24)}

def steps(period):
    return {"1step": 1, "6h": 6, "1d": 24}

def origins(n, period):
    return np.arange(int(0.7 * n), n - period - 1, 3)

def score(data, said):
    (frame, period), = series(data).values()
    found = {}
    for name, step in steps(period).items():
        rows = said[said["step"] == step]
        at = frame.index.get_indexer(rows["origin"]) + step
        assert (rows[["lo95", "lo80", "mean", "hi80", "hi95"]].diff(axis=1).iloc[:, 1:] >= 0).all().all()
        error = np.abs(rows["mean"].to_numpy() - frame.to_numpy()[at]).mean()
        naive = np.abs(frame.to_numpy()[at - period] - frame.to_numpy()[at]).mean()
        found[name] = {"vs_snaive": error / naive, "abs_err80": 0.0, "abs_err95": 0.0}
    return found
"""


def test_every_forecaster_is_scored_beside_ours(tmp_path: Path) -> None:
    (tmp_path / SCORER).write_text(SCORER_TEXT)
    goals, detail = measured(tmp_path)
    assert {goal.name.split(",")[1].split()[0] for goal in goals if "error /" in goal.name} == {"1step", "6h", "1d"}
    assert detail["seasonal_naive"]["scores"]["1d"]["vs_snaive"] == pytest.approx(1.0)
    assert detail["mixture"]["scores"]["1d"]["vs_snaive"] < 1.0
    for name in FORECASTERS:
        assert detail[name]["cpu_seconds"] > 0
        assert set(detail[name]["halves"]) == {"first_step", "last_step"}


def test_a_folder_without_the_scorer_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--data"):
        measured(tmp_path)
