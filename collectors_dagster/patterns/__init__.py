"""Policies for calls that may fail: rules only, no I/O.

A rule is pure. Where its state lies, in this process or in Redis for the whole fleet, is told to the policy as a store
(:mod:`collectors_dagster.patterns.shared_state`).
"""

from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    CircuitBreaker,
    Outcome,
    Phase,
    failed_if_transient,
)
from collectors_dagster.patterns.rate_limiter import BucketPolicy, TokenBucket
from collectors_dagster.patterns.retry import Backoff, RetryPolicy, retry

__all__ = [
    "Backoff",
    "BreakerPolicy",
    "BucketPolicy",
    "CircuitBreaker",
    "Outcome",
    "Phase",
    "RetryPolicy",
    "TokenBucket",
    "failed_if_transient",
    "retry",
]
