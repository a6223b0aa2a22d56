"""Small pictures of models, as PNG bytes. Agg, object-oriented: no global state, no display."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from collectors_dagster.models.evaluation import DetectorTrial
from collectors_dagster.models.forecast import HostForecaster
from collectors_dagster.models.forest_expert import STEPS
from collectors_dagster.records import ForecastPoint

_SIZE = (7.0, 2.6)
_DPI = 80
_BLUE, _RED, _GREY = "#2563eb", "#dc2626", "#6b7280"


def _png(figure: Figure) -> bytes:
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a figure without a window draws with Agg
    return buffer.getvalue()


def score_history(trials: Sequence[DetectorTrial], threshold: float) -> bytes:
    """Draw the scores of the rows on trial."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    for trial in trials[:4]:
        axes.plot(trial.ts, trial.scores, linewidth=0.7, label=trial.host)
    axes.axhline(threshold, color=_RED, linewidth=0.8, linestyle="--", label=f"alerts from {threshold:g}")
    axes.set(ylim=(0, 1.02), ylabel="anomaly score", title="Scores on untouched history")
    axes.legend(loc="upper left", fontsize=7)
    axes.tick_params(labelsize=7)
    return _png(figure)


def score_histogram(trials: Sequence[DetectorTrial]) -> bytes:
    """Draw how often each score occurs, logarithmically."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    scores = np.concatenate([trial.scores for trial in trials]) if trials else np.empty(0)
    axes.hist(scores, bins=np.linspace(0, 1, 41).tolist(), color=_BLUE, log=len(scores) > 0)
    axes.set(xlim=(0, 1), xlabel="anomaly score", ylabel="minutes", title="Distribution of scores")
    return _png(figure)


def recall_bars(recall: Mapping[str, float]) -> bytes:
    """Draw the share of planted faults found, by kind."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    kinds = list(recall)
    axes.barh([kind.replace("_", " ") for kind in kinds], [recall[kind] for kind in kinds], color=_BLUE)
    axes.set(xlim=(0, 1), xlabel="share found", title="Planted faults")
    axes.tick_params(labelsize=8)
    return _png(figure)


def fan_chart(forecaster: HostForecaster, signal_column: int, points: Sequence[ForecastPoint]) -> bytes:
    """Draw the last two days of a signal and the forecast with its intervals."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    outlook = forecaster.outlook(None)
    if outlook is not None:
        seconds = (outlook.cells.number * 600).astype("datetime64[s]")
        axes.plot(seconds[-288:], outlook.cells.values[-288:, signal_column], color=_GREY, linewidth=0.8)
    ts = np.array([np.datetime64(one.ts.replace(tzinfo=None), "s") for one in points])
    for low, high, shade in (("low95", "high95", 0.15), ("low80", "high80", 0.3)):
        edges = [[getattr(one, side) for one in points] for side in (low, high)]
        axes.fill_between(ts, edges[0], edges[1], color=_BLUE, alpha=shade, linewidth=0)
    axes.plot(ts, [one.mean for one in points], color=_BLUE, linewidth=1.2)
    title = f"{forecaster.host}: {points[0].signal}" if points else forecaster.host
    axes.set(title=f"{title}, with 80 % and 95 % intervals")
    axes.tick_params(labelsize=7)
    return _png(figure)


def coverage_by_horizon(forecasters: Sequence[HostForecaster]) -> bytes:
    """Draw how often the intervals held, by horizon, against what they promise."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    outlooks = [one for one in (forecaster.outlook(None) for forecaster in forecasters) if one is not None]
    hours = np.array(STEPS) / 6.0
    for level, (promised, colour) in enumerate(((0.8, _BLUE), (0.95, _RED))):
        axes.axhline(promised, color=colour, linewidth=0.7, linestyle="--")
        seen = np.stack([one.interval.coverage[level] for one in outlooks]) if outlooks else np.empty((0, 1, 7))
        known = np.isfinite(seen)
        count = known.sum(axis=(0, 1))
        mean = np.where(known, seen, 0.0).sum(axis=(0, 1)) / np.maximum(count, 1)
        axes.plot(hours[count > 0], mean[count > 0], color=colour, marker="o", label=f"{promised:.0%} interval")
    axes.set(
        xscale="log",
        xlim=(0.12, 30),
        ylim=(0, 1.02),
        xlabel="hours ahead",
        ylabel="observed",
        title="Do the intervals hold?",
    )
    axes.legend(fontsize=7)
    return _png(figure)
