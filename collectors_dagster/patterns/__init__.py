"""Policies for calls that may fail: rules only, no I/O.

Rules are pure transitions; who holds their state is a matter of the store (:mod:`shared_state`), and when it is asked
is a plan (:mod:`plans`), carried out by threads and coroutines alike.
"""

from collectors_dagster.patterns.bulkhead import Bulkhead, BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    CircuitBreaker,
    Outcome,
    Phase,
    failed_if_transient,
)
from collectors_dagster.patterns.leadership import Leadership, Shares, owner_of
from collectors_dagster.patterns.rate_limiter import RateLimiter, local_rate_limiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy, rate_policy
from collectors_dagster.patterns.retry import Backoff, RetryPolicy, retry

__all__ = [
    "Algorithm",
    "Backoff",
    "BreakerPolicy",
    "Bulkhead",
    "BulkheadPolicy",
    "CircuitBreaker",
    "Leadership",
    "Outcome",
    "Phase",
    "RateLimiter",
    "RatePolicy",
    "RetryPolicy",
    "SharedBulkhead",
    "Shares",
    "failed_if_transient",
    "local_rate_limiter",
    "owner_of",
    "rate_policy",
    "retry",
]
