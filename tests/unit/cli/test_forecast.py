"""`collectors forecast`: a file in, its future out, or a refusal that says what to do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectors_dagster.cli.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
ROWS = 480
SEASON = 24
WRITTEN = ["timestamp", "metric", "mean", "low80", "high80", "low95", "high95", "interval"]


def hourly(rows: int, *, seed: int = 1) -> pd.DataFrame:
    """Return a daily rhythm between 80 and 120 with noise of 2."""
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(rows) / SEASON) + np.random.default_rng(seed).normal(0, 2, rows)
    return pd.DataFrame({"timestamp": pd.date_range("2026-01-01", periods=rows, freq="1h", tz="UTC"), "value": values})


@pytest.fixture
def series(tmp_path: Path) -> Path:
    path = tmp_path / "my.csv"
    hourly(ROWS).to_csv(path, index=False)
    return path


def test_a_season_ahead_is_written(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.csv"
    main_ok("forecast", str(series), "-o", str(output))
    said = pd.read_csv(output, parse_dates=["timestamp"])
    assert list(said.columns) == WRITTEN
    assert len(said) == SEASON
    assert said["timestamp"][0] == pd.Timestamp("2026-01-21T00:00:00Z")
    truth = 100 + 20 * np.sin(2 * np.pi * np.arange(ROWS, ROWS + SEASON) / SEASON)
    assert np.abs(said["mean"] - truth).mean() < 2.0
    assert (said["low95"] <= said["low80"]).all()
    assert (said["low80"] <= said["mean"]).all()
    assert (said["mean"] <= said["high80"]).all()
    assert (said["high80"] <= said["high95"]).all()
    assert set(said["interval"]) == {"observed"}
    assert "held" in capsys.readouterr().out


def test_the_summary_is_json_if_asked(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok("forecast", str(series), "--horizon", "6h", "--json")
    [said] = json.loads(capsys.readouterr().out)["series"]
    assert (said["step_seconds"], said["season_steps"], len(said["forecast"])) == (3600.0, 24, 6)
    assert abs(said["coverage80"] - 0.8) < 0.1
    assert said["error_vs_season_ago"] < 1.0
    assert 0 < said["confidence"] < 1


def test_parquet_in_parquet_out_by_series_in_any_unit(tmp_path: Path) -> None:
    frame = hourly(200)
    both = pd.concat([frame.assign(host="a"), frame.assign(host="b", value=frame["value"] * 1024)])
    both.sample(frac=1.0, random_state=0).to_parquet(tmp_path / "both.parquet", index=False)
    main_ok("forecast", str(tmp_path / "both.parquet"), "--by", "host", "-o", str(tmp_path / "out.parquet"))
    said = pd.read_parquet(tmp_path / "out.parquet")
    by = {host: part[WRITTEN[2:7]].to_numpy() for host, part in said.groupby("host")}
    np.testing.assert_allclose(by["a"] * 1024, by["b"], rtol=1e-6)


def test_a_picture_is_drawn(series: Path, tmp_path: Path) -> None:
    main_ok("forecast", str(series), "--plot", str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_mended_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = hourly(100)
    text = frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), other="").astype(str)
    text.loc[10, "value"], text.loc[11, "value"] = "inf", ""
    text.loc[12, "value"] = "1e300"
    text.loc[20, "timestamp"] = "2026-01-01T20:07:00Z"
    text = pd.concat([text.drop(index=[30, 31]), text.iloc[[50]]])
    text.to_csv(tmp_path / "rough.csv", index=False)
    main_ok("forecast", str(tmp_path / "rough.csv"), "--json")
    repairs = " | ".join(json.loads(capsys.readouterr().out)["repairs"])
    for words in (
        "not in the order of time: 1",
        "infinite values: 1",
        "empty cells: 1",
        "left out: other",
        "between the steps of 3600 s: 1",
        "share a step with another: 1",
        "steps without a row: 2",
        "beyond 1e100: 1",
    ):
        assert words in repairs


def test_a_metric_that_fell_silent_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = hourly(100)
    frame.assign(old=np.where(np.arange(100) < 90, frame["value"], np.nan)).to_csv(tmp_path / "two.csv", index=False)
    main_ok("forecast", str(tmp_path / "two.csv"), "--json")
    said = json.loads(capsys.readouterr().out)
    assert [one["metric"] for one in said["series"]] == ["value", "old"]
    assert "old: nothing in the last 10 steps" in " | ".join(said["repairs"])


@pytest.mark.parametrize("rows", [1, 2, 3, 13])
def test_little_history_gives_an_answer_without_an_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int
) -> None:
    hourly(rows).to_csv(tmp_path / "short.csv", index=False)
    main_ok("forecast", str(tmp_path / "short.csv"), "--step", "1h", "--horizon", "3", "--json")
    [said] = json.loads(capsys.readouterr().out)["series"]
    for point in said["forecast"]:
        assert np.isfinite(point["mean"])
        assert (point["interval"] == "assumed") == (point["low80"] is None)
    assert rows > 12 or said["forecast"][0]["low80"] is None


@pytest.mark.parametrize("value", [0.0, 3.5, -1e12])
def test_a_constant_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float) -> None:
    hourly(120).assign(value=value).to_csv(tmp_path / "flat.csv", index=False)
    main_ok("forecast", str(tmp_path / "flat.csv"), "--json")
    [said] = json.loads(capsys.readouterr().out)["series"]
    assert {(one["mean"], one["low95"], one["high95"]) for one in said["forecast"]} == {(value, value, value)}


def test_a_counter_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hourly(240).assign(value=7.0 * np.arange(240)).to_csv(tmp_path / "counter.csv", index=False)
    main_ok("forecast", str(tmp_path / "counter.csv"), "--json")
    [said] = json.loads(capsys.readouterr().out)["series"]
    expected = 7.0 * np.arange(240, 240 + SEASON)
    np.testing.assert_allclose([one["mean"] for one in said["forecast"]], expected, atol=2.0)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("timestamp,value\n2026-01-01,1\n", (), ("single instant", "--step")),
        ("timestamp,value\n2026-01-01,1\n2026-01-02,one\n", (), ("row 3", "'value'", "not a number")),
        ("timestamp,value\n2026-01-01T00:00Z,1\n2026-01-02T00:00,2\n", (), ("row 3", "time zone")),
        ("timestamp,value\n2026-01-01,\n2026-01-02,\n", (), ("not a single number",)),
        ("timestamp,value\n1,1\n2,2\n", ("--horizon", "soon"), ("--horizon", "'soon'", "6h")),
        ("timestamp,value\n3600,1\n7200,2\n", ("--horizon", "169"), ("--horizon", "169 steps", "1 to 168")),
        ("timestamp,value\n3600,1\n7200,2\n", ("--horizon", "0"), ("--horizon", "1 to 168")),
        ("timestamp,value\n1,1\n2,2\n", ("--step", "often"), ("--step", "'often'", "10min")),
        ("timestamp,metric,value\n1,a,1\n2,a,2\n", ("--by", "metric"), ("'metric'", "rename it")),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(path), *options])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert [word for word in ("bad.csv", *words) if word not in said] in ([], ["bad.csv"])


def commands_of_the_page() -> list[str]:
    block = (ROOT / "docs" / "forecast.md").read_text().split("```sh\n")[1].split("```")[0]
    return block.splitlines()


@pytest.mark.parametrize("command", commands_of_the_page())
def test_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    frame = hourly(100)
    frame.to_csv(tmp_path / "my.csv", index=False)
    frame.assign(host="a").to_parquet(tmp_path / "hosts.parquet")
    frame.rename(columns={"value": "cpu"}).assign(memory=frame["value"] / 2).to_csv(tmp_path / "host.csv", index=False)
    monkeypatch.chdir(tmp_path)
    main_ok(*command.split()[1:])


def main_ok(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code in {0, None}
