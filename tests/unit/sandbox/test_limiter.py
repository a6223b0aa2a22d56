"""The limiter of an account keeps its promises whatever is asked when."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.sandbox.limiter import QUOTA_EXCEEDED, AccountLimiter
from collectors_dagster.sandbox.options import Quota, RateLimit

PAUSES = st.lists(st.integers(0, 1280).map(lambda ticks: ticks / 64), min_size=1, max_size=200)
"""Of a clock whose seconds add up exactly."""
LIMITS = st.builds(
    RateLimit,
    requests=st.integers(1, 12),
    window_seconds=st.integers(4, 320).map(lambda ticks: ticks / 8),
    lockout_seconds=st.sampled_from([0.0, 20.0]),
    escalation_seconds=st.sampled_from([0.0, 5.0]),
)


@given(LIMITS, PAUSES)
def test_no_window_holds_more_than_the_limit(limit: RateLimit, pauses: list[float]) -> None:
    limiter, now, accepted = AccountLimiter(limit), 0.0, []
    for pause in pauses:
        now += pause
        if limiter.ask(now) is None:
            accepted.append(now)
    for place, at in enumerate(accepted):
        assert place - bisect_right(accepted, at - limit.window_seconds) < limit.requests


@given(LIMITS, PAUSES)
def test_who_waits_as_long_as_told_is_let_in(limit: RateLimit, pauses: list[float]) -> None:
    limiter, now = AccountLimiter(limit), 0.0
    for pause in pauses:
        now += pause
        refusal = limiter.ask(now)
        if refusal is not None:
            now += refusal.retry_after_seconds
            assert limiter.ask(now) is None


@given(LIMITS, st.lists(st.floats(0.001, 5), min_size=1, max_size=60))
def test_asking_during_a_pause_makes_it_longer_by_the_escalation_and_never_shorter(
    limit: RateLimit, pauses: list[float]
) -> None:
    limiter, now, until = AccountLimiter(limit), 0.0, 0.0
    for _ in range(limit.requests + 1):
        refusal = limiter.ask(now)
    assert refusal is not None
    until = now + max(limit.window_seconds, limit.lockout_seconds)
    for pause in pauses:
        now += pause
        if now >= until:
            return
        until += limit.escalation_seconds
        refusal = limiter.ask(now)
        assert refusal is not None
        assert until - now <= refusal.retry_after_seconds < until - now + 1 + 1e-6


@given(st.integers(1, 40), st.lists(st.floats(0, 4000, allow_nan=False), min_size=1, max_size=120))
def test_a_quota_counts_from_its_first_request_and_names_itself(requests: int, pauses: list[float]) -> None:
    limiter = AccountLimiter(None, Quota(requests, 86_400.0))
    now, began, used = 0.0, None, 0
    for pause in pauses:
        now += pause
        if began is None or now >= began + 86_400:
            began, used = now, 0
        refusal = limiter.ask(now)
        if used < requests:
            assert refusal is None
            used += 1
        else:
            assert refusal is not None
            assert refusal.reason == QUOTA_EXCEEDED
            assert refusal.retry_after_seconds >= began + 86_400 - now


def test_a_lockout_is_longer_than_the_window() -> None:
    limiter = AccountLimiter(RateLimit(1, 2.0, lockout_seconds=20.0))
    assert limiter.ask(0.0) is None
    refusal = limiter.ask(1.0)
    assert refusal is not None
    assert refusal.retry_after_seconds == 20
    assert limiter.ask(20.9) is not None
    assert limiter.ask(21.0) is None


def test_without_a_limit_only_a_ban_refuses() -> None:
    limiter = AccountLimiter(None)
    assert all(limiter.ask(0.0) is None for _ in range(1000))
    limiter.ban(60.0)
    limiter.ban(10.0)  # a shorter one does not end the longer
    assert limiter.ask(59.9) is not None
    assert limiter.ask(60.0) is None
