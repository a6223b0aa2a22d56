"""Candidates are judged by faults planted into rows they have not seen, and by the rows as they are."""

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.models.evaluation import detector_metrics, episodes, forecaster_metrics, try_detector
from collectors_dagster.models.forecast import HostForecaster
from collectors_dagster.models.host_detector import HostDetector
from collectors_dagster.models.injection import FAULTS, inject
from tests.support.histories import SWAP, quiet_host, with_values

DAY = 1440


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_a_fault_changes_its_signals_and_nothing_else(fault: object) -> None:
    one = next(known for known in FAULTS if known is fault)
    frame = quiet_host(DAY)
    values = frame.values.copy()
    values[:, SWAP] = 0.0
    frame = with_values(frame, values)
    injected = inject(frame, one, times=3, seed=1)
    rows = np.concatenate([np.arange(start, start + one.minutes) for start in injected.starts])
    changed = injected.frame.values != frame.values
    assert len(injected.starts) == 3
    assert set(np.flatnonzero(changed.any(axis=1))) <= set(rows)
    assert {SIGNALS[i] for i in np.flatnonzero(changed.any(axis=0))} == set(one.changes)


def test_a_fault_of_signals_nobody_measures_is_not_planted() -> None:
    frame = with_values(quiet_host(DAY), np.full((DAY, len(SIGNALS)), np.nan))
    assert len(inject(frame, FAULTS[0], times=3, seed=1).starts) == 0


def test_faults_are_planted_apart_and_within_the_rows() -> None:
    for rows in (1, 20, 200, DAY):
        for fault in FAULTS:
            starts = inject(quiet_host(rows), fault, times=3, seed=2).starts
            assert (np.diff(starts) >= fault.minutes).all()
            assert all(start + fault.minutes <= rows for start in starts)


def test_a_good_detector_finds_faults_and_stays_quiet() -> None:
    detector = HostDetector.fit([quiet_host(3 * DAY)], seed=0)
    trial = try_detector(detector, quiet_host(DAY, first=3 * DAY, seed=1), threshold=0.9, seed=0, held_out=True)
    metrics = detector_metrics([trial], 0.9)
    assert metrics["injected_recall"] >= 0.9
    assert metrics["alert_episodes"] == 0.0
    assert metrics["evaluated_days"] == pytest.approx(1.0)
    assert 1.0 <= metrics["detection_delay_minutes"] <= 30.0


def test_a_detector_that_knows_only_limits_finds_fewer() -> None:
    rows = quiet_host(DAY, first=3 * DAY, seed=1)
    trial = try_detector(HostDetector.untrained("quiet-1"), rows, threshold=0.9, seed=0, held_out=True)
    metrics = detector_metrics([trial], 0.9)
    assert metrics["injected_recall_cpu_saturation"] == 1.0
    assert metrics["injected_recall_network_flood"] == 0.0


def test_recall_is_not_claimed_where_nothing_was_planted() -> None:
    trial = try_detector(HostDetector.untrained("x"), quiet_host(2), threshold=0.9, seed=0, held_out=False)
    assert "injected_recall" not in detector_metrics([trial], 0.9)


def test_alerts_close_together_are_one_episode() -> None:
    scores = np.zeros(60)
    scores[[3, 5, 9, 30]] = 0.95
    assert episodes(scores, 0.9) == 2
    assert episodes(scores, 0.96) == 0


def test_forecast_metrics_compare_with_yesterday() -> None:
    outlook = HostForecaster.fit([quiet_host(4 * DAY)], seed=0).outlook()
    assert outlook is not None
    metrics = forecaster_metrics([outlook])
    assert metrics["mae_vs_yesterday_10min"] < 1.0
    assert 0.6 < metrics["coverage80"] < 0.95


def test_forecast_metrics_claim_nothing_about_a_minute() -> None:
    outlook = HostForecaster.fit([quiet_host(1)], seed=0).outlook()
    assert outlook is not None
    assert forecaster_metrics([outlook]) == {"hosts": 1.0}
