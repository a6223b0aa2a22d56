"""A candidate replaces the champion only if it is no worse, and the reasons are words."""

from collectors_dagster.models.gates import anomaly_gate, forecast_gate

GOOD = {"least_state": 2.0, "injected_recall": 0.95, "alert_episodes_per_host_day": 0.5}
FORECAST = {"least_state": 2.0, "mae_vs_yesterday_1h": 0.5, "coverage80": 0.8, "coverage95": 0.95}


def test_an_equal_candidate_passes() -> None:
    assert anomaly_gate(GOOD, GOOD) == []
    assert forecast_gate(FORECAST, FORECAST) == []


def test_a_candidate_that_finds_less_is_refused() -> None:
    [reason] = anomaly_gate(GOOD | {"injected_recall": 0.7}, GOOD)
    assert reason == "it finds 70 % of planted faults, the champion 95 %"


def test_a_candidate_that_cries_more_is_refused() -> None:
    assert anomaly_gate(GOOD | {"alert_episodes_per_host_day": 2.9}, GOOD) == []
    [reason] = anomaly_gate(GOOD | {"alert_episodes_per_host_day": 3.1}, GOOD)
    assert "3.1 times per host and day" in reason
    assert anomaly_gate(GOOD | {"alert_episodes_per_host_day": 7.9}, GOOD | {"alert_episodes_per_host_day": 4.0}) == []


def test_a_candidate_that_lost_its_history_is_refused() -> None:
    [reason] = anomaly_gate({"least_state": 0.0}, GOOD)
    assert reason == "it is only learning, the champion is ready"
    assert forecast_gate({"least_state": 1.0}, FORECAST) == ["it is only provisional, the champion is ready"]


def test_a_candidate_that_knows_its_hosts_better_always_passes() -> None:
    """A champion that learned nothing has no false alarms to be measured against."""
    noisy = {"least_state": 1.0, "alert_episodes_per_host_day": 9.0, "injected_recall": 0.4}
    assert anomaly_gate(noisy, {"least_state": 0.0, "alert_episodes_per_host_day": 0.0}) == []


def test_a_forecaster_that_errs_more_or_holds_less_is_refused() -> None:
    reasons = forecast_gate(FORECAST | {"mae_vs_yesterday_1h": 0.8, "coverage95": 0.7}, FORECAST)
    assert len(reasons) == 2
    assert "error at 1h" in reasons[0]
    assert "95 % interval is off by 0.25" in reasons[1]


def test_what_was_never_measured_refuses_nobody() -> None:
    assert anomaly_gate({}, {}) == []
    assert forecast_gate({}, FORECAST | {"least_state": 0.0}) == []
