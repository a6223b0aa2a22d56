"""The assets by name: what each is, on what it depends, how it is cut."""

from collections.abc import Sequence

import dagster as dg

from assets.partitions import TENANT_DAY, TENANTS

OWNERS = ["team:platform"]


def tenant_day_asset(name: str, *, group: str, description: str, deps: Sequence[str], kinds: set[str]) -> dg.AssetSpec:
    """Declare an asset per tenant and day; its stage may leave partitions out, so it is skippable."""
    return _asset(name, group, description, deps, kinds, TENANT_DAY)


def tenant_asset(name: str, *, group: str, description: str, deps: Sequence[str], kinds: set[str]) -> dg.AssetSpec:
    """Declare an asset per tenant."""
    return _asset(name, group, description, deps, kinds, TENANTS)


def _asset(
    name: str,
    group: str,
    description: str,
    deps: Sequence[str],
    kinds: set[str],
    partitions: dg.PartitionsDefinition[str],
) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        partitions_def=partitions,
        skippable=True,
    )
