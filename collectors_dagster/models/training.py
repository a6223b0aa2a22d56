"""From a tenant's history to a model with everything a person needs to judge it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from collectors_dagster import __version__
from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import DAY_MINUTES, Timeline, joined
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models import anomaly, bundle, forecast, plots, serving
from collectors_dagster.models.anomaly import HostDetector, TenantDetector
from collectors_dagster.models.evaluation import (
    DetectorTrial,
    detector_metrics,
    forecaster_metrics,
    leading_signals,
    recall_by_kind,
    try_detector,
)
from collectors_dagster.models.forecast import TenantForecaster
from collectors_dagster.models.gates import LEAST_STATE
from collectors_dagster.models.host_outlook import MAX_HORIZON_MINUTES, HostOutlook
from collectors_dagster.records import ModelPackage, ModelState, TrainingData, Window

Frames = Mapping[str, Sequence[SignalFrame]]
Masks = Mapping[str, Sequence[Window]]
EXAMPLE_ROWS = 5
_HELD_OUT_FROM_DAYS = 3


@dataclass(frozen=True, slots=True)
class TrainedDetector:
    """A fitted detector and what goes to the registry with it."""

    model: TenantDetector
    package: ModelPackage


@dataclass(frozen=True, slots=True)
class TrainedForecaster:
    """A fitted forecaster and what goes to the registry with it."""

    model: TenantForecaster
    package: ModelPackage


def train_detector(
    tenant_id: str,
    frames: Frames,
    *,
    seed: int,
    mask: Masks | None = None,
    normal: Masks | None = None,
    threshold: float = 0.9,
) -> TrainedDetector:
    """Fit and judge a tenant's detector.

    Parameters
    ----------
    frames : mapping of host to frames
        Minutes in any order; the last 14 days count.
    mask : mapping of host to windows
        Incidents; their minutes are not learned.
    normal : mapping of host to windows
        Spans that a person called normal; they are learned.
    threshold : float
        Of the tenant; only the evaluation uses it.

    Raises
    ------
    InsufficientDataError
        If no host has a single minute.
    """
    histories = _histories(frames)
    windows, accepted = mask or {}, normal or {}
    model = TenantDetector.fit(frames, seed=seed, mask=windows, normal=accepted)
    trials = [
        _trial(
            model.detector(host), history, windows.get(host, ()), accepted.get(host, ()), seed=seed, threshold=threshold
        )
        for host, history in histories.items()
    ]
    recall = recall_by_kind(trials)
    metrics = detector_metrics(trials, threshold)
    example, data = _example(histories), _data(tenant_id, histories)
    causes = leading_signals(trials)
    package = ModelPackage(
        kind=anomaly.KIND,
        loader=serving.LOADER,
        params={"seed": str(seed), "memory_days": str(anomaly.MEMORY_DAYS), "threshold": f"{threshold:g}"},
        metrics=metrics | _knowledge(histories, model.states()),
        plots={
            "scores.png": plots.score_history(trials, threshold),
            "score_histogram.png": plots.score_histogram(trials),
            "planted_faults.png": plots.recall_bars(recall),
            **({"importance.png": plots.importance_bars(causes)} if causes else {}),
        },
        card=_detector_card(tenant_id, histories, model.states(), metrics, held_out=any(t.held_out for t in trials)),
        tags=_tags(histories, model.states(), data),
        example=serving.columns_of(example),
        answer=serving.ServedDetector(model).answer([example]),
        data=data,
    )
    return TrainedDetector(model, package)


def train_forecaster(tenant_id: str, frames: Frames, *, seed: int, mask: Masks | None = None) -> TrainedForecaster:
    """Fit and judge a tenant's forecaster; arguments as for :func:`train_detector`."""
    histories = _histories(frames)
    model = TenantForecaster.fit(frames, seed=seed, mask=mask)
    outlooks = {host: one for host in histories if (one := model.forecaster(host).outlook()) is not None}
    metrics = forecaster_metrics(list(outlooks.values()))
    example, data = _example(histories), _data(tenant_id, histories)
    package = ModelPackage(
        kind=forecast.KIND,
        loader=serving.LOADER,
        params={"seed": str(seed), "memory_days": str(forecast.MEMORY_DAYS)},
        metrics=metrics | _knowledge(histories, model.states()),
        plots=_forecast_plots(histories, outlooks),
        card=_forecaster_card(tenant_id, histories, model.states(), metrics),
        tags=_tags(histories, model.states(), data),
        example=serving.columns_of(example),
        answer=serving.ServedForecaster(model).answer([example]),
        data=data,
    )
    return TrainedForecaster(model, package)


def _forecast_plots(histories: Mapping[str, Timeline], outlooks: Mapping[str, HostOutlook]) -> dict[str, bytes]:
    """Draw the first host's first signal that can be forecast; nothing where none can."""
    if not outlooks:
        return {}
    host, outlook = next(iter(outlooks.items()))
    points = outlook.points(host, _newest(histories[host]), range(10, MAX_HORIZON_MINUTES + 1, 30))
    first = [one for one in points if one.signal == points[0].signal]
    drawn = {"forecast.png": plots.fan_chart(host, outlook, first)} if first else {}
    return drawn | {"coverage.png": plots.coverage_by_horizon(list(outlooks.values()))}


def _histories(frames: Frames) -> dict[str, Timeline]:
    histories = {host: joined(own, days=anomaly.MEMORY_DAYS) for host, own in sorted(frames.items())}
    known = {host: history for host, history in histories.items() if history.measured.any()}
    if not known:
        message = "no minute of any host was measured: let the agent run for a minute, then train again"
        raise InsufficientDataError(message, required=1, available=0)
    return known


def _trial(
    final: HostDetector,
    history: Timeline,
    windows: Sequence[Window],
    normal: Sequence[Window],
    *,
    seed: int,
    threshold: float,
) -> DetectorTrial:
    """Try a detector of everything but the last day on that day; with little history, the final one on its own."""
    if len(history) < _HELD_OUT_FROM_DAYS * DAY_MINUTES:
        return try_detector(
            final, history.without(windows).frame(final.host), threshold=threshold, seed=seed, held_out=False
        )
    cut = len(history) - DAY_MINUTES
    before = Timeline(history.first, history.values[:cut])
    after = Timeline(history.first + cut, history.values[cut:]).without(windows)
    earlier = HostDetector.fit([before.frame(final.host)], seed=seed, mask=windows, normal=normal)
    return try_detector(earlier, after.frame(final.host), threshold=threshold, seed=seed, held_out=True)


def _example(histories: Mapping[str, Timeline]) -> SignalFrame:
    """Return the newest rows of the first host that were measured."""
    host, history = next(iter(histories.items()))
    rows = np.flatnonzero(history.measured)[-EXAMPLE_ROWS:]
    frame = history.frame(host)
    return SignalFrame(host, frame.ts[rows], frame.signals, frame.values[rows])


def _rows(histories: Mapping[str, Timeline]) -> int:
    return sum(int(one.measured.sum()) for one in histories.values())


def _knowledge(histories: Mapping[str, Timeline], states: Mapping[str, ModelState]) -> dict[str, float]:
    place = list(ModelState).index(_least(states))
    return {"training_rows": float(_rows(histories)), LEAST_STATE: float(place)}


def _newest(history: Timeline) -> datetime:
    return datetime.fromtimestamp(int(history.minutes[-1]) * 60, tz=UTC)


def _oldest(history: Timeline) -> datetime:
    return datetime.fromtimestamp(history.first * 60, tz=UTC)


def _data(tenant_id: str, histories: Mapping[str, Timeline]) -> TrainingData:
    """Describe the minutes that a model learns from, before anything is left out of them."""
    total = hashlib.sha256()
    for host, history in histories.items():
        total.update(f"{host} {history.first} {history.values.shape}".encode() + b"\0")
        total.update(bundle.as_stored(history.values).tobytes())
    return TrainingData(
        name=f"{tenant_id}.minutes",
        digest=total.hexdigest()[:32],
        source={
            "tenant": tenant_id,
            "table": "core.feature",
            "feature_set": VERSION,
            "window_start": min(_oldest(one) for one in histories.values()).isoformat(),
            "window_end": max(_newest(one) for one in histories.values()).isoformat(),
        },
        profile={"hosts": len(histories), "minutes": _rows(histories), "signals": len(SIGNALS)},
    )


def _tags(histories: Mapping[str, Timeline], states: Mapping[str, ModelState], data: TrainingData) -> dict[str, str]:
    return {
        "dataset_digest": data.digest,
        "feature_set": VERSION,
        "code_version": __version__,
        "window_start": min(_oldest(one) for one in histories.values()).isoformat(),
        "window_end": max(_newest(one) for one in histories.values()).isoformat(),
        "rows": str(_rows(histories)),
        "state": _least(states).value,
    }


def _least(states: Mapping[str, ModelState]) -> ModelState:
    """Return the state of the least known host."""
    order = list(ModelState)
    return min(states.values(), key=order.index, default=ModelState.LEARNING)


_STATE_WORDS = {
    ModelState.LEARNING: "under an hour of history: only physical limits alert",
    ModelState.PROVISIONAL: "under two days of history: unusual values alert, no time of day is known, never critical",
    ModelState.READY: "compared with the same time of day of the past week",
}


def _header(title: str, histories: Mapping[str, Timeline], states: Mapping[str, ModelState]) -> list[str]:
    lines = [title, ""]
    for host, history in histories.items():
        span = f"{_oldest(history):%Y-%m-%d %H:%M} to {_newest(history):%Y-%m-%d %H:%M} UTC"
        state = states.get(host, ModelState.LEARNING)
        lines.append(
            f"- **{host}**: {int(history.measured.sum())} minutes, {span}; *{state.value}*: {_STATE_WORDS[state]}"
        )
    return [*lines, ""]


def _detector_card(
    tenant_id: str,
    histories: Mapping[str, Timeline],
    states: Mapping[str, ModelState],
    metrics: Mapping[str, float],
    *,
    held_out: bool,
) -> str:
    title = (
        f"Anomaly detector of **{tenant_id}**. Scores each minute of each host 0 to 1; "
        "0.9 is as rare as one in a hundred spans of ten minutes."
    )
    lines = _header(title, histories, states)
    where = "a day it had not seen" if held_out else "its own training rows (too little history to hold any back)"
    recall = metrics.get("injected_recall")
    if recall is not None:
        lines.append(f"Of faults planted into {where}, it found {100 * recall:.0f} %.")
    if "alert_episodes" in metrics:
        lines.append(f"On the same rows untouched it would have alerted {metrics['alert_episodes']:.0f} times.")
    lines += [
        "",
        "It learns no minute of an incident, unless the incident keeps coming back at the same time of day.",
        "It cannot know weekly habits, planned work, or faults that do not show in these signals.",
    ]
    return "\n".join(lines)


def _forecaster_card(
    tenant_id: str,
    histories: Mapping[str, Timeline],
    states: Mapping[str, ModelState],
    metrics: Mapping[str, float],
) -> str:
    title = f"Load forecaster of **{tenant_id}**: ten minutes to a day ahead, with 80 % and 95 % intervals."
    lines = _header(title, histories, states)
    for key, words in (("mae_vs_yesterday_1h", "an hour"), ("mae_vs_yesterday_1d", "a day")):
        if key in metrics:
            lines.append(f'Its error {words} ahead is {metrics[key]:.2f} of that of "as yesterday".')
    if "coverage80" in metrics and "coverage95" in metrics:
        lines.append(
            f"Its 80 % and 95 % intervals held in {100 * metrics['coverage80']:.0f} % "
            f"and {100 * metrics['coverage95']:.0f} % of the cases of the last week."
        )
    else:
        lines.append("Its intervals are assumptions so far: too little was observed to check them.")
    return "\n".join(lines)
