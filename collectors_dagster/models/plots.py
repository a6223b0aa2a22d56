"""Small pictures of models, as PNG bytes. Agg, object-oriented: no global state, no display."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from collectors_dagster.frames import Floats, Times
from collectors_dagster.models.cells import CELL_MINUTES, DAY_CELLS, FORECAST_SIGNALS, STEPS
from collectors_dagster.models.conformal import LEVELS
from collectors_dagster.models.evaluation import DetectorTrial
from collectors_dagster.models.host_outlook import HostOutlook
from collectors_dagster.models.outlook import Fan
from collectors_dagster.records import ForecastPoint

_SIZE = (7.0, 2.6)
_DPI = 80
_MOST_POINTS = 300
_HOSTS_DRAWN = 4
_SIGNALS_DRAWN = 8
_TWO_DAYS = 2 * DAY_CELLS
_HOURS = np.array(STEPS) * CELL_MINUTES / 60.0
_BLUE, _RED, _GREY = "#2563eb", "#dc2626", "#6b7280"


def _png(figure: Figure) -> bytes:
    """Draw and pack: 64 colours are enough for lines, and a quarter of the bytes."""
    figure.tight_layout()
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")  # a figure without a window draws with Agg
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(64).save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def _step(values: Floats) -> int:
    return max(len(values) // _MOST_POINTS, 1)


def _peaks(values: Floats) -> Floats:
    """Return the largest value of each of at most 400 equal parts: a thin line must not lose an alert."""
    starts = np.arange(0, len(values), _step(values))
    return np.asarray(np.maximum.reduceat(values, starts)) if len(values) else values


def score_history(trials: Sequence[DetectorTrial], threshold: float) -> bytes:
    """Draw the scores of the rows on trial."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    for trial in trials[:_HOSTS_DRAWN]:
        peaks = _peaks(trial.scores)
        axes.plot(trial.ts[:: _step(trial.scores)][: len(peaks)], peaks, linewidth=0.7, label=trial.host)
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


def importance_bars(shares: Mapping[str, float]) -> bytes:
    """Draw by which signal minutes were explained first, untouched ones and those with planted faults."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    signals = list(shares)[:_SIGNALS_DRAWN][::-1]
    axes.barh([signal.replace("_", " ") for signal in signals], [shares[one] for one in signals], color=_BLUE)
    axes.set(xlim=(0, 1), xlabel="share of the explained minutes that it led", title="Which signals decide")
    axes.tick_params(labelsize=8)
    return _png(figure)


def fan_chart(host: str, outlook: HostOutlook, points: Sequence[ForecastPoint]) -> bytes:
    """Draw the last two days of a signal and its forecast with both intervals."""
    column = FORECAST_SIGNALS.index(points[0].signal)
    seconds = np.asarray(outlook.cells.number[-_TWO_DAYS:] * 60 * CELL_MINUTES, dtype=np.float64)
    past = (seconds, outlook.cells.values[-_TWO_DAYS:, column])
    ahead = np.array([one.ts.timestamp() for one in points])
    fan = Fan(
        mean=np.array([one.mean for one in points]),
        low=np.array([[one.low80 for one in points], [one.low95 for one in points]]),
        high=np.array([[one.high80 for one in points], [one.high95 for one in points]]),
        observed=np.ones(len(points), dtype=np.bool_),
    )
    return forecast_fan(f"{host}: {points[0].signal}, with 80 % and 95 % intervals", past, (ahead, fan))


def forecast_fan(title: str, past: tuple[Floats, Floats], ahead: tuple[Floats, Fan]) -> bytes:
    """Draw what was measured (seconds since 1970, values) and what is forecast (seconds, fan)."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    axes.plot(_instants(past[0]), past[1], color=_GREY, linewidth=0.8)
    ts, fan = _instants(ahead[0]), ahead[1]
    for level, shade in ((1, 0.15), (0, 0.3)):
        axes.fill_between(ts, fan.low[level], fan.high[level], color=_BLUE, alpha=shade, linewidth=0)
    axes.plot(ts, fan.mean, color=_BLUE, linewidth=1.2)
    axes.set(title=title)
    axes.tick_params(labelsize=7)
    return _png(figure)


def _instants(seconds: Floats) -> Times:
    return np.asarray((seconds * 1e3).astype("datetime64[ms]"))


def coverage_by_horizon(outlooks: Sequence[HostOutlook]) -> bytes:
    """Draw how often the intervals held, by horizon, against what they promise."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    axes = figure.add_subplot()
    for level, colour in enumerate((_BLUE, _RED)):
        promised = 1.0 - LEVELS[level]
        seen = np.vstack([one.outlook.coverage()[level] for one in outlooks])
        known = np.isfinite(seen)
        count = known.sum(axis=0)
        mean = np.where(known, seen, 0.0).sum(axis=0)[count > 0] / count[count > 0]
        axes.axhline(promised, color=colour, linewidth=0.7, linestyle="--")
        axes.plot(_HOURS[count > 0], mean, color=colour, marker="o", label=f"{promised:.0%} interval")
    axes.set(xscale="log", xlim=(0.12, 30), ylim=(0, 1.02), xlabel="hours ahead", ylabel="share held")
    axes.legend(loc="lower left", fontsize=7)
    return _png(figure)


def scored_table(seconds: Floats, values: Floats, columns: Sequence[str], score: Floats, threshold: float) -> bytes:
    """Draw a file's metrics (at most four) over their scores, with what is anomalous marked."""
    ts = (seconds * 1e3).astype("datetime64[ms]")
    figure = Figure(figsize=(_SIZE[0], 2 * _SIZE[1]), dpi=_DPI)
    above, below = figure.subplots(2, 1, sharex=True)
    hits = np.flatnonzero(score >= threshold)
    for column, name in enumerate(columns[:_HOSTS_DRAWN]):
        above.plot(ts, values[:, column], linewidth=0.7, label=name)
    above.plot(ts[hits], values[hits, 0], ".", color=_RED, markersize=4, label="anomalous")
    above.legend(loc="upper left", fontsize=7)
    peaks = _peaks(score)
    below.plot(ts[:: _step(score)][: len(peaks)], peaks, linewidth=0.7, color=_BLUE)
    below.axhline(threshold, color=_RED, linewidth=0.8, linestyle="--")
    below.set(ylim=(0, 1.02), ylabel="anomaly score")
    for axes in (above, below):
        axes.tick_params(labelsize=7)
    return _png(figure)
