"""The settings of circuit breakers: the document's keys go on, and what cannot work is refused by name."""

import pytest
from pydantic import ValidationError

from collectors_dagster.config.policy_sections import CircuitBreaker
from collectors_dagster.patterns.breaker_policy import BreakerPolicy, configured


def test_the_documents_keys_alone_count_failures_in_a_row() -> None:
    policy = configured(CircuitBreaker(failure_threshold=4, recovery_timeout=20))
    assert policy == BreakerPolicy(4, 20.0, window_calls=4, probes=1, successes=1)


def test_shares_of_failed_and_slow_calls_are_watched_when_they_are_set() -> None:
    policy = configured(CircuitBreaker(failure_ratio=0.5, slow_ratio=0.8, slow_seconds=2, window_seconds=60))
    assert (policy.failure_ratio, policy.slow_ratio, policy.slow_seconds) == (0.5, 0.8, 2.0)
    assert policy.window_seconds == 60.0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"success_threshold": 2}, "success_threshold 2 is more than probes 1: it would never close"),
        ({"failure_ratio": 0.0001}, "failure_ratio 0.0001 is less than 0.001"),
        ({"window_seconds": 0.001}, "window_seconds 0.001 is shorter than its ten steps"),
        ({"failure_threshold": 0}, "failure_threshold"),
        ({"recovery_timeout": -1}, "recovery_timeout"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key_and_the_reason(wrong: dict[str, float], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        CircuitBreaker.model_validate(wrong)
