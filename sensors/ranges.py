"""Batches of tenants as run requests: the one place that knows Dagster's tags for ranges."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from assets.partitions import TENANT
from collectors_dagster.strategies.batches import Batch, plan_batches, tenants_between
from collectors_dagster.tenants import Tier
from resources.deployment import Deployment

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
PRIORITY = "dagster/priority"
TIER = "collectors/tier"
BATCH = "collectors/batch"

PRIORITIES = {Tier.PREMIUM: 10, Tier.STANDARD: 0}


@dataclass(frozen=True, slots=True)
class Special:
    """What distinguishes a run from others of the same batch.

    Attributes
    ----------
    tags : further tags, or others in the place of the usual ones
    job : name of the job, where a sensor has several
    assets : only these of the job's
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    job: str | None = None
    assets: tuple[str, ...] = ()


ORDINARY = Special()


def planned(deployment: Deployment, instance: dg.DagsterInstance) -> list[Batch]:
    """Plan the runs for all configured tenants that have a partition."""
    order = instance.get_dynamic_partitions(TENANT)
    tiers = {tenant.id: tenant.tier for tenant in deployment.directory().tenants}
    return plan_batches(order, tiers, deployment.settings.dagster.batch_size)


def tenant_requests(batches: list[Batch], occasion: str, special: Special = ORDINARY) -> Iterator[dg.RunRequest]:
    """Ask for one run per batch of tenants; `occasion` makes it happen once."""
    for batch in batches:
        yield _request(batch, occasion, batch.first, batch.last, special)


def tenant_day_requests(
    batches: list[Batch], occasion: str, day: str, special: Special = ORDINARY
) -> Iterator[dg.RunRequest]:
    """Ask for one run per batch of tenants, for one day."""
    for batch in batches:
        yield _request(batch, occasion, f"{batch.first}|{day}", f"{batch.last}|{day}", special)


def covered_tenants(tags: Mapping[str, str], order: Sequence[str]) -> tuple[str, ...]:
    """Return the tenants of a run by its tags.

    Examples
    --------
    >>> covered_tenants({RANGE_START: "b|2026-11-22", RANGE_END: "a|2026-11-22"}, ["b", "d", "a", "c"])
    ('b', 'd', 'a')
    >>> covered_tenants({PARTITION: "c"}, ["b", "d", "a", "c"])
    ('c',)
    """
    first = tags.get(RANGE_START) or tags.get(PARTITION)
    last = tags.get(RANGE_END) or first
    if first is None or last is None:
        return ()
    return tenants_between(order, first.split("|")[0], last.split("|")[0])


def _request(batch: Batch, occasion: str, first: str, last: str, special: Special) -> dg.RunRequest:
    # A range even for one partition: Dagster's own tags for a single two-dimensional one are deprecated names.
    tags = {
        RANGE_START: first,
        RANGE_END: last,
        PRIORITY: str(PRIORITIES[batch.tier]),
        TIER: str(batch.tier),
        BATCH: batch.name,
        **special.tags,
    }
    selection = [dg.AssetKey(name) for name in special.assets] or None
    return dg.RunRequest(run_key=f"{occasion}-{batch.name}", tags=tags, job_name=special.job, asset_selection=selection)
