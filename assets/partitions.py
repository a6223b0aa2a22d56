"""How assets are cut: by tenant, and by tenant and day.

Hours are not partitions: an hourly run materialises today's partition again, and the ledger (``core.load``) keeps
the books. The first day rolls with the calendar: it is fixed when the definitions are loaded, so old days leave
with the next restart of the code server.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError

TENANT = "tenant"
"""Name of the dynamic partitions and of their dimension."""
WINDOW = "window"
DAY_FORMAT = "%Y-%m-%d"

COMFORTABLE_PARTITIONS = 30_000
"""Beyond this many partitions of one asset, its page in the UI takes seconds."""
MOST_PARTITIONS = 100_000
"""Beyond this the UI and the automation stop being usable."""

TENANTS = dg.DynamicPartitionsDefinition(name=TENANT)


def first_day(now: datetime, days: int) -> str:
    """Return the first of `days` days that end with today, in UTC.

    Examples
    --------
    >>> first_day(datetime(2026, 11, 22, 23, tzinfo=UTC), 30)
    '2026-10-24'
    """
    return (now.astimezone(UTC) - timedelta(days=days - 1)).strftime(DAY_FORMAT)


_Ranges = dict[dg.PartitionKeyRange, Sequence[dg.MultiPartitionKey]]
_looked_up: ContextVar[_Ranges | None] = ContextVar("looked_up", default=None)


class TenantDays(dg.MultiPartitionsDefinition):
    """Tenant x day, with a memory for the keys of a range.

    Dagster looks a run's range up anew, in eight connections to its database, for every partition that metadata
    are attached to: for 50 tenants that was two thirds of the cost of a run.
    """

    def get_partition_keys_in_range(
        self, partition_key_range: dg.PartitionKeyRange, dynamic_partitions_store: Any = None
    ) -> Sequence[dg.MultiPartitionKey]:
        """Return the keys; within :func:`ranges_looked_up_once`, without asking the database again."""
        known = _looked_up.get()
        if known is not None and partition_key_range in known:
            return known[partition_key_range]
        found = super().get_partition_keys_in_range(partition_key_range, dynamic_partitions_store)
        keys = cast("Sequence[dg.MultiPartitionKey]", found)
        if known is not None:
            known[partition_key_range] = keys
        return keys


@contextmanager
def ranges_looked_up_once() -> Iterator[None]:
    """Remember the keys of ranges within the block: nobody adds a tenant to a run that is ending."""
    token = _looked_up.set({})
    try:
        yield
    finally:
        _looked_up.reset(token)


def tenant_days(now: datetime, days: int) -> dg.MultiPartitionsDefinition:
    """Return tenant x day; ``end_offset=1`` makes the unfinished day of today a partition too."""
    window = dg.DailyPartitionsDefinition(start_date=first_day(now, days), end_offset=1)
    return TenantDays({TENANT: TENANTS, WINDOW: window})


def check_partition_budget(tenants: int, days: int) -> int:
    """Return the number of partitions per asset, warning when pages become slow.

    Raises
    ------
    ConfigurationError
        Above 100,000: keep fewer days, or give several tenants one installation less.

    Examples
    --------
    >>> check_partition_budget(tenants=100, days=30)
    3000
    """
    partitions = tenants * days
    figures = f"{tenants} tenants x {days} days = {partitions:,} partitions per asset"
    if partitions > MOST_PARTITIONS:
        raise ConfigurationError(
            f"{figures}, more than {MOST_PARTITIONS:,}: lower dagster.partition_days, "
            "or split the tenants over installations"
        )
    if partitions > COMFORTABLE_PARTITIONS:
        warnings.warn(
            f"{figures}, more than {COMFORTABLE_PARTITIONS:,}: the web UI will be slow; "
            "consider lowering dagster.partition_days",
            stacklevel=2,
        )
    return partitions


TENANT_DAY = tenant_days(SystemClock().now(), load_settings().dagster.partition_days)
