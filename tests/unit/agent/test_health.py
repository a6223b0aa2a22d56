"""Whether an agent is well: losing samples is failing, anything else is not."""

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.health import LATE_INTERVALS, LATE_SECONDS, Signals, judge


@given(st.floats(0, 1000), st.floats(0.1, 60))
def test_sampling_is_late_after_three_intervals_and_a_little(age: float, interval: float) -> None:
    late = age > LATE_INTERVALS * interval + LATE_SECONDS
    assert judge(Signals(age, interval)).status == ("failing" if late else "ok")


def test_a_database_that_is_away_is_degraded_not_dead() -> None:
    health = judge(Signals(0.1, 1.0, delivery_error="refused", refused={"aurora": "unknown"}, problems=["x.yml: bad"]))
    assert health.status == "degraded"
    assert health.degraded == ("delivery: refused", "delivery to aurora: unknown", "x.yml: bad")


def test_a_spool_that_cannot_be_written_fails_with_its_reason() -> None:
    health = judge(Signals(0.1, 1.0, spool_error="no space left on device", failing_collectors={"cpu": "away"}))
    assert health.as_json() == {
        "status": "failing",
        "failing": ["the spool: no space left on device"],
        "degraded": ["collector cpu: away"],
    }
