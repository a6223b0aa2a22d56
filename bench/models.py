"""How good and how dear detection is, on labelled data that lies outside the project: ``--data DIR`` names it.

The folder holds the data and its scorer (``score_detector.py``), which is loaded from there. What is measured: NAB's
score at the best and at the default threshold, windows found, false notices; VUS-PR and event F1 of hosts; how often
the first cause named is a true one; costs. Beside it three common detectors on the same rows. Spreads are over random
halves of the files: of two settings whose spreads overlap neither is better. The other half of this benchmark is
``bench.models_forecast``.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench import models_forecast
from bench.models_peers import PEERS, over_series
from bench.report import Goal, Report, main_with_options
from collectors_dagster.frames import Floats
from collectors_dagster.models.series_detector import SeriesDetector
from collectors_dagster.models.tail import shown
from collectors_dagster.models.windowed_residual import CONTEXT_ROWS, WindowedResidual

THRESHOLD = 0.9
HALVES = 40
SEED = 0
HOSTS, METRICS = 1000, 38
OURS = "ours"
PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")


@dataclass(frozen=True, slots=True)
class Host:
    """One machine: rows to learn from, rows to score, which of these are anomalous, and which metrics caused what."""

    name: str
    train: Floats
    test: Floats
    label: Floats
    causes: Sequence[Mapping[str, Any]]


def measure(options: argparse.Namespace) -> Report:
    """Score the data of ``--data``, in one thread."""
    with threadpool_limits(1):
        return _measured(options)


def _measured(options: argparse.Namespace) -> Report:
    data = options.data
    scorer = scorer_of(data)
    goals: list[Goal] = []
    detail: dict[str, Any] = {}
    if options.part in {"all", "detection"}:
        for part in (_series, _hosts):
            found, said = part(data, scorer)
            goals += found
            detail |= said
    if options.part in {"all", "forecast"}:
        found, detail["forecast"] = models_forecast.measured(data)
        goals += found
    return Report("models", tuple(goals), detail)


def scorer_of(data: Path) -> ModuleType:
    """Load the scorer that lies with the data.

    Raises
    ------
    SystemExit
        If there is none.
    """
    place = data / "score_detector.py"
    spec = importlib.util.spec_from_file_location("score_detector", place)
    if spec is None or spec.loader is None or not place.is_file():
        sys.exit(f"{place} is not there: name the folder of the labelled data and its scorer with --data")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def spread(of: Callable[[Sequence[str]], float], names: Sequence[str]) -> dict[str, float]:
    """Return mean and standard deviation of a figure over random halves of the files."""
    random = np.random.default_rng(SEED)
    half = max(len(names) // 2, 1)
    found = [of([names[int(one)] for one in random.permutation(len(names))[:half]]) for _ in range(HALVES)]
    return {"mean": round(float(np.mean(found)), 4), "sd": round(float(np.std(found)), 4)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _series(data: Path, scorer: ModuleType) -> tuple[list[Goal], dict[str, Any]]:
    corpus = scorer.load_nab(str(data))
    files = {name: file for name, (file, _) in corpus.items()}
    values = _values_of(data)
    detail: dict[str, Any] = {}
    for name, detect in {OURS: _judged, **{name: _peer_of(name) for name in PEERS}}.items():
        _say(f"series: {name}")
        began = process_time()
        scores = {file: detect(stamps, values[file]) for file, (_, stamps) in corpus.items()}
        rows = sum(len(one) for one in scores.values())
        detail[name] = _nab(scorer, files, scores) | {"us_per_row": 1e6 * (process_time() - began) / rows}
        if name == OURS:
            detail[name] |= _notices(corpus, scores)
    ours = detail[OURS]
    goals = [
        Goal("NAB standard, best threshold", ours["standard"]["best"], 73, "higher"),
        Goal("NAB standard, default threshold", ours["standard"]["default"], 70, "higher"),
        Goal("windows found at the default", ours["windows_found"], 56, "higher"),
        Goal("false notices per metric-day at the default", ours["false_per_metric_day"], 0.2),
        Goal("scoring one metric: us per row", ours["us_per_row"], 50),
        Goal(
            "NAB standard, default: gain over the best peer at its best threshold",
            ours["standard"]["default"] - max(detail[name]["standard"]["best"] for name in PEERS),
            0,
            "higher",
        ),
    ]
    return goals, {"series": detail}


def _values_of(data: Path) -> dict[str, Floats]:
    table = pd.read_parquet(data / "nab.parquet")
    return {str(name): rows["value"].to_numpy(float) for name, rows in table.groupby("file", observed=True)}


def _judged(stamps: Any, values: Floats) -> Floats:
    detector = SeriesDetector()
    seconds = stamps.astype("datetime64[ns]").astype(np.int64) / 1e9
    return shown(np.array([detector.judge(at, one).alarm for at, one in zip(seconds, values.tolist(), strict=True)]))


def _peer_of(name: str) -> Callable[[Any, Floats], Floats]:
    return lambda _, values: over_series(PEERS[name], values)


def _nab(scorer: ModuleType, files: Mapping[str, Any], scores: Mapping[str, Floats]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for profile in PROFILES:
        thresholds, found = scorer.nab_sweep(files, scores, profile)
        best = int(np.argmax(found))
        result[profile] = {
            "best": float(found[best]),
            "best_threshold": float(thresholds[best]),
            "default": _at_default(thresholds, found),
        }

    def of(names: Sequence[str], pick: Callable[[Floats, Floats], float]) -> float:
        return pick(*scorer.nab_sweep({n: files[n] for n in names}, {n: scores[n] for n in names}, "standard"))

    names = sorted(files)
    result["halves"] = {
        "best": spread(lambda part: of(part, lambda _, found: float(found.max())), names),
        "default": spread(lambda part: of(part, _at_default), names),
    }
    return result


def _at_default(thresholds: Floats, found: Floats) -> float:
    return float(found[np.flatnonzero(thresholds >= THRESHOLD)[-1]])


def _notices(corpus: Mapping[str, Any], scores: Mapping[str, Floats]) -> dict[str, float]:
    found = false = days = 0.0
    for name, (file, stamps) in corpus.items():
        alarms = file.scored & (scores[name] >= THRESHOLD)
        found += sum(bool(alarms[start : end + 1].any()) for start, end in file.windows)
        false += int((alarms & (file.window_id < 0)).sum())
        days += float((stamps[-1] - stamps[int(file.probation)]) / np.timedelta64(1, "D"))
    return {"windows_found": found, "false_per_metric_day": false / days}


def _hosts(data: Path, scorer: ModuleType) -> tuple[list[Goal], dict[str, Any]]:
    detail: dict[str, Any] = {}
    for corpus, hosts in (("SMD", list(smd(data))), ("ASD", list(asd(data)))):
        detail[corpus] = {name: _host_figures(scorer, hosts, name) for name in (OURS, *PEERS)}
    ours = detail["SMD"][OURS]
    forest = detail["SMD"]["isolation forest"]
    goals = [
        Goal("SMD VUS-PR", ours["vus_pr"], 0.55, "higher"),
        Goal("SMD event F1", ours["event_f1"], 0.68, "higher"),
        Goal("ASD VUS-PR", detail["ASD"][OURS]["vus_pr"], 0.58, "higher"),
        Goal("SMD VUS-PR over a plain Isolation Forest's", ours["vus_pr"] / forest["vus_pr"], 1.0, "higher"),
        Goal("explanation: the first cause is a true one", ours["first_cause_is_true"], 0.72, "higher"),
        Goal("scoring a host: us per row and metric", ours["us_per_row_and_metric"], 50),
        Goal("fit of a host: CPU s", ours["fit_s"], 3),
    ]
    return goals, detail


def smd(data: Path) -> Iterator[Host]:
    """Yield the machines of ``smd/``."""
    known = json.loads((data / "smd" / "interpretation.json").read_text(encoding="utf-8"))
    for place in sorted((data / "smd").glob("*.parquet")):
        yield _host(place.stem, pd.read_parquet(place), 1e6, known.get(place.stem, ()))


def asd(data: Path) -> Iterator[Host]:
    """Yield the servers of ``asd.parquet``."""
    for name, rows in pd.read_parquet(data / "asd.parquet").groupby("server", observed=True):
        yield _host(str(name), rows, 1.0, ())


def _host(name: str, rows: pd.DataFrame, unit: float, causes: Sequence[Mapping[str, Any]]) -> Host:
    metrics = [column for column in rows.columns if column.startswith("m") and column[1:].isdigit()]
    values = rows[metrics].to_numpy(float) / unit
    train = rows["part"].to_numpy() == 0
    return Host(name, values[train], values[~train], rows["label"].to_numpy()[~train].astype(int), causes)


def _host_figures(scorer: ModuleType, hosts: Sequence[Host], name: str) -> dict[str, Any]:
    _say(f"hosts: {name}")
    each: dict[str, tuple[float, float]] = {}
    fits, costs, hits = [], [], []
    for host in hosts:
        context = np.vstack([host.train[-CONTEXT_ROWS:], host.test])
        began = process_time()
        model: Any = (
            WindowedResidual.fit(host.train, np.ones(len(host.train), dtype=np.bool_), seed=SEED)
            if name == OURS
            else PEERS[name]().fit(host.train)
        )
        fitted = process_time()
        strange = (
            model.strangeness(context, slice(CONTEXT_ROWS, None))
            if name == OURS
            else model.score(context)[CONTEXT_ROWS:]
        )
        costs.append(1e6 * (process_time() - fitted) / host.test.size)
        fits.append(fitted - began)
        window = scorer.period(host.test[:, 0])
        each[host.name] = (
            float(scorer.vus_pr(host.label, strange, window)),
            float(scorer.best_event_f1(host.label, strange)[0]),
        )
        if name == OURS:
            hits += _first_causes(model, host, strange)
    result: dict[str, Any] = {
        "vus_pr": float(np.mean([one[0] for one in each.values()])),
        "event_f1": float(np.mean([one[1] for one in each.values()])),
        "halves": {
            "vus_pr": spread(lambda part: float(np.mean([each[one][0] for one in part])), sorted(each)),
            "event_f1": spread(lambda part: float(np.mean([each[one][1] for one in part])), sorted(each)),
        },
        "fit_s": float(np.mean(fits)),
        "us_per_row_and_metric": float(np.mean(costs)),
    }
    return result | ({"first_cause_is_true": float(np.mean(hits)), "segments": len(hits)} if hits else {})


def _first_causes(model: WindowedResidual, host: Host, strange: Floats) -> list[bool]:
    """Say of each labelled segment whether the metric named first at its strangest row is one that caused it."""
    hits = []
    for segment in host.causes:
        rows = slice(segment["start"], max(segment["end"], segment["start"] + 1))
        peak = segment["start"] + int(np.argmax(strange[rows]))
        first = int(np.argmax(np.abs(model.deviations(host.test[peak]))))
        hits.append(first + 1 in segment["dims"])
    return hits


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled data and its scorers")
    parser.add_argument("--part", choices=("all", "detection", "forecast"), default="all")


if __name__ == "__main__":
    main_with_options(measure, __doc__, _options)
