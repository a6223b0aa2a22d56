"""The plumbing of the detection benchmark, on data made here: no labelled corpus is part of the project."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import models
from bench.models_peers import PEERS, over_series

SCORER = '''
"""A stand-in with the real one's names: a window is worth 1, a false row costs 0.11 of it."""
import json
from pathlib import Path

import numpy as np
import pandas as pd


class File:
    def __init__(self, stamps, windows):
        self.n, self.probation = len(stamps), len(stamps) // 10
        place = {stamp: row for row, stamp in enumerate(stamps)}
        self.windows = [(place[np.datetime64(a)], place[np.datetime64(b)]) for a, b in windows]
        self.window_id = np.full(self.n, -1)
        for number, (a, b) in enumerate(self.windows):
            self.window_id[a : b + 1] = number
        self.scored = np.arange(self.n) >= self.probation


def load_nab(data):
    table = pd.read_parquet(data + "/nab.parquet")
    windows = json.loads(Path(data, "nab_windows.json").read_text())
    return {
        name: (File(rows["timestamp"].to_numpy(), windows[name]), rows["timestamp"].to_numpy())
        for name, rows in table.groupby("file", observed=True)
    }


def nab_sweep(files, scores, profile):
    thresholds = np.concatenate([[np.inf], np.linspace(1, 0, 101)])
    total = sum(len(file.windows) for file in files.values())
    found = []
    for threshold in thresholds:
        raw = 0.0
        for name, file in files.items():
            alarms = file.scored & (scores[name] >= threshold)
            raw += sum(bool(alarms[a : b + 1].any()) for a, b in file.windows)
            raw -= 0.11 * (alarms & (file.window_id < 0)).sum()
        found.append(100 * raw / total)
    return thresholds, np.array(found)


def period(values):
    return 10


def vus_pr(label, score, window):
    order = np.argsort(-score)
    hits = np.cumsum(label[order])
    return float((hits / np.arange(1, len(hits) + 1))[label[order] == 1].mean())


def best_event_f1(label, score):
    return (vus_pr(label, score, 0), 0.0)
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the benchmark wants it: two series with a spike, two machines, two servers."""
    place = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (place / "score_detector.py").write_text(SCORER, encoding="utf-8")
    series, windows = [], {}
    for number in range(2):
        stamps = pd.date_range("2026-01-01", periods=700, freq="5min")
        values = random.normal(10, 1, 700)
        values[500] = 40.0
        name = f"series-{number}"
        series.append(pd.DataFrame({"file": name, "timestamp": stamps, "value": values}))
        windows[name] = [[str(stamps[490]), str(stamps[520])]]
    pd.concat(series).to_parquet(place / "nab.parquet")
    (place / "nab_windows.json").write_text(json.dumps(windows), encoding="utf-8")
    (place / "smd").mkdir()
    for number in range(2):
        _machine(random, number, 1e6).to_parquet(place / "smd" / f"m-{number}.parquet")
    servers = [_machine(random, number, 1.0).assign(server=f"s-{number}") for number in range(2)]
    pd.concat(servers).to_parquet(place / "asd.parquet")
    causes = {f"m-{number}": [{"start": 200, "end": 220, "dims": [2]}] for number in range(2)}
    (place / "smd" / "interpretation.json").write_text(json.dumps(causes), encoding="utf-8")
    return place


def _machine(random: np.random.Generator, seed: int, unit: float) -> pd.DataFrame:
    """Return 600 rows to learn and 400 to score, in which the second of three metrics leaves the others for 20 rows."""
    load = random.uniform(0.2, 0.6, (1000, 1))
    values = load + random.normal(0, 0.01 * (1 + seed), (1000, 3))
    values[800:820, 1] += 3.0
    part = (np.arange(1000) >= 600).astype(int)
    label = np.where(part == 0, -1, ((np.arange(1000) >= 800) & (np.arange(1000) < 820)).astype(int))
    return pd.DataFrame({f"m{i:02d}": values[:, i] * unit for i in range(3)} | {"part": part, "label": label})


def test_every_goal_of_detection_is_measured_with_peers_and_spread(data: Path) -> None:
    report = models.measure(argparse.Namespace(data=data, part="detection")).as_dict()
    values = {goal["name"]: goal["value"] for goal in report["goals"]}
    assert values["windows found at the default"] == 2
    assert values["NAB standard, best threshold"] >= 90
    assert values["SMD VUS-PR"] >= 0.9
    assert values["ASD VUS-PR"] >= 0.9
    assert values["explanation: the first cause is a true one"] == 1.0
    assert values["fit of a host: CPU s"] > 0
    for corpus in ("series", "SMD", "ASD"):
        assert set(report["detail"][corpus]) == {models.OURS, *PEERS}
        assert all("halves" in one for one in report["detail"][corpus].values())
    assert json.loads(json.dumps(report)) == report


def test_a_folder_without_a_scorer_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--data"):
        models.scorer_of(tmp_path)


@pytest.mark.parametrize("name", PEERS)
def test_peers_see_a_spike_and_know_nothing_that_comes_later(name: str) -> None:
    values = np.random.default_rng(1).normal(10, 1, 400)
    values[300] = 60.0
    scores = over_series(PEERS[name], values)
    assert scores[300:304].max() >= np.quantile(scores[200:], 0.98)
    np.testing.assert_allclose(over_series(PEERS[name], values[:350]), scores[:350])
