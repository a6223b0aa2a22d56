"""`collectors detect`: a file in, the same file with scores out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectors_dagster.cli.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
ROWS = 1300


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Return a file with a spike in its row 1200."""
    values = 10 + np.random.default_rng(1).normal(0, 1, ROWS)
    values[1200] = 60.0
    path = tmp_path / "my.csv"
    frame = pd.DataFrame({"timestamp": pd.date_range("2026-01-01", periods=ROWS, freq="5min"), "value": values})
    frame.to_csv(path, index=False)
    return path


def test_scores_stand_beside_the_rows(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.csv"
    main_ok("detect", str(series), "-o", str(output), "--explain")
    scored = pd.read_csv(output)
    assert list(scored.columns) == [
        "timestamp",
        "value",
        "score",
        "is_anomaly",
        "state",
        "cause_1",
        "cause_2",
        "cause_3",
    ]
    assert scored["is_anomaly"][1200]
    assert "usual" in scored["cause_1"][1200]
    assert scored[["timestamp", "value"]].equals(pd.read_csv(series))
    assert "2026-01-05 04:00:00Z" in capsys.readouterr().out


def test_the_summary_is_json_if_asked(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok("detect", str(series), "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == ROWS
    assert said["threshold"] == 0.9
    assert 1 <= said["anomalies"] <= 20


def test_parquet_in_parquet_out_by_series(series: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(series, parse_dates=["timestamp"])
    both = pd.concat([frame.assign(host="a"), frame.assign(host="b", value=frame["value"] * 3)])
    both.to_parquet(tmp_path / "both.parquet", index=False)
    main_ok("detect", str(tmp_path / "both.parquet"), "--by", "host", "-o", str(tmp_path / "out.parquet"))
    scored = pd.read_parquet(tmp_path / "out.parquet")
    by = {host: part["score"].to_numpy() for host, part in scored.groupby("host")}
    np.testing.assert_allclose(by["a"], by["b"], atol=1e-6)


def test_a_picture_is_drawn(series: Path, tmp_path: Path) -> None:
    main_ok("detect", str(series), "--plot", str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_column_of_the_results_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scored.csv"
    path.write_text("timestamp,value,score\n1,1,1\n")
    with pytest.raises(SystemExit) as ended:
        main(["detect", str(path)])
    assert ended.value.code == 1
    assert "rename it" in capsys.readouterr().err


def commands_of_the_page() -> list[str]:
    block = (ROOT / "docs" / "detect.md").read_text().split("```sh\n")[1].split("```")[0]
    return block.splitlines()


@pytest.mark.parametrize("command", commands_of_the_page())
def test_commands_of_the_page_work(series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    frame = pd.read_csv(series)
    frame.assign(host="a").to_parquet(tmp_path / "hosts.parquet")
    frame.rename(columns={"value": "cpu"}).assign(memory=frame["value"] / 2).to_csv(tmp_path / "host.csv", index=False)
    monkeypatch.chdir(tmp_path)
    main_ok(*command.split()[1:])


def main_ok(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code in {0, None}


def test_rows_before_an_instant_can_be_learned_only(series: Path, tmp_path: Path) -> None:
    main_ok("detect", str(series), "--train-until", "2026-01-03T00:00:00Z", "-o", str(tmp_path / "out.csv"))
    scored = pd.read_csv(tmp_path / "out.csv")
    assert not scored["score"][:576].any()
    assert set(scored["state"][:576]) == {"learning"}
    assert scored["is_anomaly"][1200]


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("yesterday", "--train-until: 'yesterday' is no instant; write ISO 8601"),
        ("2020-01-01", "there is no row before; --train-until 2020-01-01 is outside"),
        ("2030-01-01", "there is no row from then on; --train-until 2030-01-01 is outside"),
        ("2026-01-01T10:00:00", "a host's model needs 500 rows"),
    ],
)
def test_an_instant_that_cannot_be_trained_until_is_refused(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], until: str, said: str
) -> None:
    frame = pd.read_csv(series)
    frame.assign(other=frame["value"] * 2).to_csv(tmp_path / "host.csv", index=False)
    with pytest.raises(SystemExit) as raised:
        main(["detect", str(tmp_path / "host.csv"), "--train-until", until])
    assert raised.value.code == 1
    assert said in capsys.readouterr().err
