"""The settings of caches: they say what the rules know by themselves, and what cannot work is refused by name."""

import random
from typing import Any

import pytest
from pydantic import ValidationError

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.policy_sections import Cache
from collectors_dagster.patterns import CacheLimits, CachePolicy, Caches, Tier
from collectors_dagster.patterns.cache_policy import cache_limits, cache_policy
from collectors_dagster.patterns.compression import Codec
from collectors_dagster.patterns.memory_store import MemoryStore


@pytest.mark.parametrize("tier", Tier)
def test_settings_and_policies_have_the_same_defaults(tier: Tier) -> None:
    assert cache_policy(Cache(), tier) == CachePolicy(tier)
    assert cache_limits(Cache()) == CacheLimits()


def test_every_setting_reaches_its_policy() -> None:
    settings = Cache(
        hot_seconds=1.0,
        warm_seconds=2.0,
        cold_seconds=3.0,
        jitter=0.2,
        staleness=0.3,
        early_refresh_beta=2.0,
        negative_seconds=4.0,
        stale_while_revalidate_seconds=5.0,
        stale_if_error_seconds=6.0,
        lease_seconds=7.0,
        max_wait_seconds=8.0,
        local_seconds=9.0,
        local_max_bytes=10_000,
        local_tenant_max_bytes=11_000,
        tenant_max_bytes=120_000,
        value_max_bytes=1_300,
        compression="gzip",
        compression_min_bytes=14,
        compression_min_saving=0.15,
    )
    policy = cache_policy(settings, Tier.HOT)
    limits = policy.limits
    assert [policy.hot_seconds, policy.warm_seconds, policy.cold_seconds] == [1.0, 2.0, 3.0]
    assert [policy.jitter, policy.staleness, policy.early_refresh_beta, policy.negative_seconds] == [0.2, 0.3, 2.0, 4.0]
    assert [policy.stale_while_revalidate_seconds, policy.stale_if_error_seconds] == [5.0, 6.0]
    assert [limits.lease_seconds, policy.max_wait_seconds, limits.local_seconds] == [7.0, 8.0, 9.0]
    assert [limits.local_bytes, limits.local_tenant_bytes, limits.tenant_bytes] == [10_000, 11_000, 120_000]
    assert limits.value_bytes == 1_300
    compression = limits.compression
    assert (compression.candidates, compression.smallest_bytes, compression.least_saving) == ((Codec.GZIP,), 14, 0.15)
    for each in Cache.model_fields:
        assert getattr(settings, each) != getattr(Cache(), each), "a setting that this test forgot"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"hot_seconds": 4000}, "hot_seconds 4000, warm_seconds 3600 and cold_seconds 86400 do not grow"),
        ({"value_max_bytes": 5_000_000}, "value_max_bytes 5000000 is more than a 16th of tenant_max_bytes"),
        ({"jitter": 1}, "jitter"),
        ({"lease_seconds": 0}, "lease_seconds"),
        ({"compression": "bzip2"}, "compression"),
        ({"staleness": "inf"}, "staleness"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key_and_the_reason(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Cache.model_validate(wrong)


def test_the_caches_of_a_process_are_bounded_together(manual_clock: ManualClock) -> None:
    settings = Cache(local_max_bytes=20_000, local_tenant_max_bytes=15_000)
    caches = Caches(settings, store=MemoryStore(manual_clock), clock=manual_clock, random=random.Random(1).random)
    artists = [caches.json("artists", Tier.COLD, tenant=tenant) for tenant in ("acme", "beta")]
    replies = caches.bytes("replies", tenant="acme")
    for number in range(20):
        for cache in artists:
            assert cache.get(str(number), lambda: "x" * 900) == "x" * 900
        replies.keep(str(number), b"x" * 900, 60.0)
    copies = caches._copies
    assert 10_000 < copies.of("acme").bytes_in_use + copies.of("beta").bytes_in_use <= 20_000
    assert replies.find("0") is not None, "what is copied here no more still lies in the store"
    assert (artists[0].policy.tier, artists[0].policy.limits) == (Tier.COLD, cache_limits(settings))
