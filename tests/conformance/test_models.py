"""What every model promises; a new one is tested the moment it is listed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models.forecast import HostForecaster
from collectors_dagster.models.host_detector import HostDetector
from collectors_dagster.records import ForecastPoint, ScoredMinute
from tests.support.histories import cut, instant, quiet_host, with_values

DAY = 1440
Answer = Sequence[ScoredMinute] | Sequence[ForecastPoint]


class Model(NamedTuple):
    """How a model is fitted, asked about the newest rows, and stored."""

    name: str
    answer: Callable[[SignalFrame, SignalFrame], Answer]
    stored: Callable[[SignalFrame, SignalFrame, Path], Answer]


def detector_answer(history: SignalFrame, current: SignalFrame) -> Answer:
    return HostDetector.fit([history], seed=3).score(current, history)


def stored_detector_answer(history: SignalFrame, current: SignalFrame, place: Path) -> Answer:
    HostDetector.fit([history], seed=3).save(place)
    return HostDetector.load(place).score(current, history)


def forecaster_answer(history: SignalFrame, current: SignalFrame) -> Answer:
    return HostForecaster.fit([history], seed=3).forecast(current, instant(current))


def stored_forecaster_answer(history: SignalFrame, current: SignalFrame, place: Path) -> Answer:
    HostForecaster.fit([history], seed=3).save(place)
    return HostForecaster.load(place).forecast(current, instant(current))


MODELS = [
    Model("detector", detector_answer, stored_detector_answer),
    Model("forecaster", forecaster_answer, stored_forecaster_answer),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def numbers(answer: Answer) -> list[float]:
    return [one.score if isinstance(one, ScoredMinute) else one.mean for one in answer]


def random_gaps(frame: SignalFrame, share: float) -> SignalFrame:
    values = frame.values.copy()
    values[np.random.default_rng(5).random(values.shape) < share] = np.nan
    return with_values(frame, values)


@every_model
@pytest.mark.parametrize("minutes", [1, 2, 59, 61, 1439, 3 * DAY])
def test_any_amount_of_history_is_enough_for_an_answer(model: Model, minutes: int) -> None:
    answer = model.answer(quiet_host(minutes), quiet_host(3, first=minutes, seed=1))
    assert answer
    assert np.isfinite(numbers(answer)).all()


@every_model
def test_the_same_question_has_the_same_answer(model: Model) -> None:
    history, current = quiet_host(3 * DAY), quiet_host(30, first=3 * DAY, seed=1)
    assert model.answer(history, current) == model.answer(history, current)


@every_model
def test_a_stored_model_answers_as_before(model: Model, tmp_path: Path) -> None:
    history, current = quiet_host(3 * DAY), quiet_host(30, first=3 * DAY, seed=1)
    assert model.stored(history, current, tmp_path / "model") == model.answer(history, current)


@every_model
@pytest.mark.parametrize("share", [0.05, 0.6])
def test_gaps_are_survived(model: Model, share: float) -> None:
    history, current = random_gaps(quiet_host(3 * DAY), share), random_gaps(quiet_host(30, first=3 * DAY), share)
    assert np.isfinite(numbers(model.answer(history, current))).all()


@every_model
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_metrics_are_survived(model: Model, level: float) -> None:
    flat = with_values(quiet_host(3 * DAY), np.full((3 * DAY, len(SIGNALS)), level))
    current = quiet_host(5, first=3 * DAY)
    answer = model.answer(flat, with_values(current, np.full((5, len(SIGNALS)), level)))
    assert np.isfinite(numbers(answer)).all()


@every_model
@pytest.mark.parametrize("missing", SIGNALS)
def test_any_single_signal_may_be_missing(model: Model, missing: str) -> None:
    history, current = quiet_host(200), quiet_host(3, first=200)
    for frame in (history, current):
        frame.values[:, SIGNALS.index(missing)] = np.nan
    answer = model.answer(history, current)
    assert np.isfinite(numbers(answer)).all()
    assert missing not in {one.signal for one in answer if isinstance(one, ForecastPoint)}


@every_model
def test_infinities_and_absurd_values_are_survived(model: Model) -> None:
    history, current = quiet_host(3 * DAY), quiet_host(5, first=3 * DAY)
    history.values[100] = np.inf
    history.values[200] = -np.inf
    history.values[300] = 1e300
    current.values[2] = np.inf
    assert np.isfinite(numbers(model.answer(history, current))).all()


@every_model
def test_an_hour_of_silence_before_now_is_survived(model: Model) -> None:
    history, current = quiet_host(3 * DAY), quiet_host(3, first=3 * DAY + 60)
    assert np.isfinite(numbers(model.answer(cut(history, 0, -60), current))).all()
