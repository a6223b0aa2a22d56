"""Batches: everybody served once, ranges that mean what they say, premium tenants alone and first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.strategies.batches import plan_batches, tenants_between
from collectors_dagster.tenants import Tier

NAMES = [f"t{number}" for number in range(40)]
ORDERS = st.lists(st.sampled_from(NAMES), unique=True, max_size=40)
TIERS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(Tier))
SIZES = st.integers(1, 12)
Order = list[str]
Tiers = dict[str, Tier]


@given(ORDERS, TIERS, SIZES)
def test_every_served_tenant_with_a_partition_is_in_exactly_one_batch(order: Order, tiers: Tiers, size: int) -> None:
    planned = [tenant for batch in plan_batches(order, tiers, size) for tenant in batch.tenants]
    assert sorted(planned) == sorted(tenant for tenant in order if tenant in tiers)


@given(ORDERS, TIERS, SIZES)
def test_a_batch_names_a_range_that_covers_its_tenants_and_nobody_else(order: Order, tiers: Tiers, size: int) -> None:
    for batch in plan_batches(order, tiers, size):
        assert tenants_between(order, batch.first, batch.last) == batch.tenants


@given(ORDERS, TIERS, SIZES)
def test_premium_tenants_run_alone_and_before_all_standard_ones(order: Order, tiers: Tiers, size: int) -> None:
    batches = plan_batches(order, tiers, size)
    seen = [batch.tier for batch in batches]
    assert seen == sorted(seen, key=lambda tier: tier is not Tier.PREMIUM)
    assert all(len(batch.tenants) == 1 for batch in batches if batch.tier is Tier.PREMIUM)
    assert all(tiers[tenant] is batch.tier for batch in batches for tenant in batch.tenants)


@given(ORDERS, TIERS, SIZES)
def test_no_batch_is_larger_than_allowed_and_names_are_unique(order: Order, tiers: Tiers, size: int) -> None:
    batches = plan_batches(order, tiers, size)
    assert all(1 <= len(batch.tenants) <= size for batch in batches)
    assert len({batch.name for batch in batches}) == len(batches)


@given(st.lists(st.sampled_from(NAMES), unique=True), SIZES)
def test_standard_tenants_alone_need_as_few_runs_as_possible(order: Order, size: int) -> None:
    batches = plan_batches(order, dict.fromkeys(order, Tier.STANDARD), size)
    assert len(batches) == -(-len(order) // size)


def test_a_range_does_not_reach_over_a_tenant_that_is_being_offboarded() -> None:
    batches = plan_batches(["a", "gone", "b"], {"a": Tier.STANDARD, "b": Tier.STANDARD}, 50)
    assert [batch.tenants for batch in batches] == [("a",), ("b",)]


def test_a_size_that_holds_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_batches(["a"], {"a": Tier.STANDARD}, 0)
