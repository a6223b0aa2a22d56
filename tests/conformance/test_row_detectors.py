"""What every detector that scores a table row by row promises; a new one is tested the moment it is listed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from collectors_dagster.frames import Floats
from collectors_dagster.models.series_detector import SeriesDetector
from collectors_dagster.models.table_detector import score_table
from collectors_dagster.models.tail import shown

ROWS = 900
STEP = 300.0


class Detector(NamedTuple):
    """Rows of (seconds, values) in, one score per row out."""

    name: str
    columns: int
    score: Callable[[Floats, Floats], Floats]


def streamed(seconds: Floats, values: Floats) -> Floats:
    """Score a series one row at a time, as a stream delivers it."""
    detector = SeriesDetector()
    return shown(
        np.array([detector.judge(float(at), float(one)).alarm for at, one in zip(seconds, values[:, 0], strict=True)])
    )


DETECTORS = [
    Detector("series", 1, lambda seconds, values: score_table(seconds, values).score),
    Detector("stream", 1, streamed),
    Detector("host", 4, lambda seconds, values: score_table(seconds, values).score),
]
every_detector = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)


def table(columns: int, rows: int = ROWS, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    load = 50 + 20 * np.sin(np.arange(rows) / 288 * 2 * np.pi)[:, None] + random.normal(0, 1, (rows, 1))
    return np.arange(float(rows)) * STEP, load * np.arange(1, columns + 1) + random.normal(0, 1, (rows, columns))


@every_detector
@pytest.mark.parametrize("rows", [1, 2, 3, 61])
def test_few_rows_are_scored(detector: Detector, rows: int) -> None:
    scores = detector.score(*table(detector.columns, rows))
    assert scores.shape == (rows,)
    assert ((scores >= 0) & (scores < 1)).all()


@every_detector
@pytest.mark.parametrize("cut", [300, 700])
def test_what_comes_later_changes_no_score(detector: Detector, cut: int) -> None:
    seconds, values = table(detector.columns)
    later = values.copy()
    later[cut:] *= 50.0
    np.testing.assert_array_equal(detector.score(seconds, later)[:cut], detector.score(seconds, values)[:cut])


@every_detector
def test_the_same_rows_have_the_same_scores(detector: Detector) -> None:
    rows = table(detector.columns)
    np.testing.assert_array_equal(detector.score(*rows), detector.score(*rows))


@every_detector
@pytest.mark.parametrize("factor", [2.0**-20, 2.0**30])
def test_units_do_not_matter(detector: Detector, factor: float) -> None:
    seconds, values = table(detector.columns)
    np.testing.assert_allclose(detector.score(seconds, values * factor), detector.score(seconds, values), atol=0.02)


@every_detector
def test_gaps_and_infinities_are_survived(detector: Detector) -> None:
    seconds, values = table(detector.columns)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    values[200:260] = np.nan
    values[400], values[401] = np.inf, -np.inf
    scores = detector.score(seconds, values)
    assert np.isfinite(scores).all()
    assert (scores[200:260] == 0).all()


@every_detector
@pytest.mark.parametrize("level", [0.0, 7.0, -1e12])
def test_constants_never_alarm(detector: Detector, level: float) -> None:
    seconds, values = table(detector.columns)
    assert (detector.score(seconds, np.full_like(values, level)) < 0.9).all()


@every_detector
def test_a_counter_that_only_rises_does_not_alarm_at_every_row(detector: Detector) -> None:
    """A raw counter is new at every row; it must be told, if at all, a few times."""
    seconds, values = table(detector.columns)
    counted = np.cumsum(np.abs(values), axis=0)
    assert (detector.score(seconds, counted)[288:] >= 0.9).mean() < 0.05


def test_a_series_is_scored_the_same_as_a_table_and_as_a_stream() -> None:
    rows = table(1, seed=3)
    np.testing.assert_array_equal(DETECTORS[0].score(*rows), DETECTORS[1].score(*rows))
