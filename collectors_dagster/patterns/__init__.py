"""Policies for calls that may fail: rules only, no I/O.

A rule is pure. Where its state lies, in this process or in Redis for the whole fleet, is told to the policy as a store
(:mod:`collectors_dagster.patterns.shared_state`).
"""

from collectors_dagster.patterns.bulkhead import Bulkhead, BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    CircuitBreaker,
    Outcome,
    Phase,
    failed_if_transient,
)
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.leadership import Leadership, Shares, owner_of
from collectors_dagster.patterns.policy import Layer, Policy, Timeout
from collectors_dagster.patterns.rate_limiter import RateLimiter, local_rate_limiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy, rate_policy
from collectors_dagster.patterns.retry import Backoff, Growth, Jitter, Retry, RetryPolicy
from collectors_dagster.patterns.retry_budget import RetryBudget

__all__ = [
    "Algorithm",
    "Backoff",
    "BreakerPolicy",
    "Bulkhead",
    "BulkheadPolicy",
    "CircuitBreaker",
    "Growth",
    "Jitter",
    "Layer",
    "Leadership",
    "Outcome",
    "Phase",
    "Policy",
    "RateLimiter",
    "RatePolicy",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "SharedBulkhead",
    "Shares",
    "Timeout",
    "deadline",
    "failed_if_transient",
    "local_rate_limiter",
    "owner_of",
    "rate_policy",
]
