import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import RateLimitExceededError
from collectors_dagster.patterns.rate_limiter import BucketPolicy, TokenBucket, full, take

POLICY = BucketPolicy(requests_per_second=2.0, burst_size=4.0)


def test_burst_is_granted_at_once_and_no_more() -> None:
    bucket = TokenBucket("hook", POLICY, clock=ManualClock())
    assert [bucket.try_acquire() for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]


def test_waiting_callers_get_the_configured_rate() -> None:
    clock = ManualClock()
    bucket = TokenBucket("hook", POLICY, clock=clock)
    for _ in range(24):
        bucket.acquire(timeout_seconds=5.0)
    assert clock.monotonic() == pytest.approx(10.0)


def test_a_wait_that_cannot_end_in_time_is_refused_at_once() -> None:
    clock = ManualClock()
    bucket = TokenBucket("hook", POLICY, clock=clock)
    bucket.try_acquire(4.0)
    with pytest.raises(RateLimitExceededError) as refused:
        bucket.acquire(timeout_seconds=0.4)
    assert refused.value.retry_after_seconds == pytest.approx(0.5)
    assert clock.monotonic() == 0.0


def test_pause_of_the_other_side_is_kept() -> None:
    clock = ManualClock()
    bucket = TokenBucket("hook", POLICY, clock=clock)
    bucket.pause(20.0)
    assert bucket.try_acquire() == pytest.approx(20.0)
    clock.move(20.0)
    assert bucket.try_acquire() == 0.0
    assert bucket.try_acquire() > 0.0


def test_more_than_the_burst_can_never_be_granted_and_says_so() -> None:
    with pytest.raises(ValueError, match="never grant"):
        TokenBucket("hook", POLICY, clock=ManualClock()).try_acquire(4.5)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.5)])
def test_a_bucket_that_cannot_work_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="token bucket"):
        BucketPolicy(rate, burst)


steps = st.lists(st.tuples(st.floats(-1.0, 5.0), st.floats(0.1, 4.0)), max_size=80)


@given(steps)
def test_never_grants_more_than_burst_plus_rate_times_time(steps: list[tuple[float, float]]) -> None:
    now, latest, granted, state = 0.0, 0.0, 0.0, full(POLICY, 0.0)
    for seconds, cost in steps:
        now += seconds
        latest = max(latest, now)
        state, wait = take(POLICY, state, now, cost)
        granted += cost if wait == 0 else 0.0
        assert granted <= POLICY.burst_size + latest * POLICY.requests_per_second + 1e-6


@given(steps)
def test_a_refused_caller_who_waits_as_told_is_granted(steps: list[tuple[float, float]]) -> None:
    now, state = 0.0, full(POLICY, 0.0)
    for seconds, cost in steps:
        now += max(seconds, 0.0)
        state, wait = take(POLICY, state, now, cost)
        if wait > 0:
            now += wait
            state, wait = take(POLICY, state, now, cost)
            assert wait == 0.0
