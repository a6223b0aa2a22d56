"""Policies for calls that may fail: rules only, no I/O.

Each policy is a pair: pure transitions over a frozen state (``admit``, ``settle``, ``take``, ``next_delay``),
and a thin holder that keeps one such state in this process. Whoever wants shared state keeps the rules and
replaces the holder.
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
