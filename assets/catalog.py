"""How an asset is declared: the same words for all."""

from collections.abc import Sequence

import dagster as dg

OWNERS = ["team:platform"]


def declared(
    name: str,
    partitions: dg.PartitionsDefinition[str],
    *,
    group: str,
    description: str,
    deps: Sequence[str] = (),
    kinds: set[str],
) -> dg.AssetSpec:
    """Declare an asset. It is skippable: where a tenant failed, its partition is left out."""
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
