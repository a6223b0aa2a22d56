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
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.policy import Layer, Policy, Timeout
from collectors_dagster.patterns.rate_limiter import BucketPolicy, TokenBucket
from collectors_dagster.patterns.retry import Backoff, Growth, Jitter, Retry, RetryPolicy
from collectors_dagster.patterns.retry_budget import RetryBudget

__all__ = [
    "Backoff",
    "BreakerPolicy",
    "BucketPolicy",
    "CircuitBreaker",
    "Growth",
    "Jitter",
    "Layer",
    "Outcome",
    "Phase",
    "Policy",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "Timeout",
    "TokenBucket",
    "deadline",
    "failed_if_transient",
]
