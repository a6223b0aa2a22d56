"""Policies for calls that may fail: rules only, no I/O.

A rule is pure. Where its state lies, in this process or in Redis for the whole fleet, is told to the policy as a store
(:mod:`collectors_dagster.patterns.shared_state`).

The names of the cache are loaded on first use: the agent has neither it nor what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collectors_dagster.patterns.byte_cache import ByteCache
    from collectors_dagster.patterns.cache import Cache
    from collectors_dagster.patterns.cache_codecs import BYTES, JSON
    from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy, Tier
    from collectors_dagster.patterns.caches import Caches

__all__ = [
    "BYTES",
    "JSON",
    "Algorithm",
    "Backoff",
    "BreakerPolicy",
    "Bulkhead",
    "BulkheadPolicy",
    "ByteCache",
    "Cache",
    "CacheLimits",
    "CachePolicy",
    "Caches",
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
    "Tier",
    "Timeout",
    "deadline",
    "failed_if_transient",
    "local_rate_limiter",
    "owner_of",
    "rate_policy",
]

_HOMES = {
    "BYTES": "cache_codecs",
    "JSON": "cache_codecs",
    "ByteCache": "byte_cache",
    "Cache": "cache",
    "CacheLimits": "cache_policy",
    "CachePolicy": "cache_policy",
    "Caches": "caches",
    "Tier": "cache_policy",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
