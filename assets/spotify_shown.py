"""What people see of a pull: what it cost at Spotify, what it stored, and where the data come from."""

from collections.abc import Sequence

import dagster as dg

from assets.shown import Metadata, minute, table
from collectors_dagster.collectors.spotify.runner import Ending, Outcome
from collectors_dagster.strategies.spotify_datasets import Dataset
from collectors_dagster.tenants import Tenant

COUNTED = ("requests", "not_modified", "cache_hits", "rate_limited", "bans", "retries")
COLUMNS = ("user", "ended", "new", "changed", "removed", "requests", "304", "from cache", "waited s", "remarks")


def shown(tenant: Tenant, dataset: Dataset, outcomes: Sequence[Outcome]) -> Metadata:
    """Return the metadata of one dataset's pulls."""
    modes = sorted({one.mode for one in outcomes if one.mode})
    waits = [one.until for one in outcomes if one.until]
    return {
        "dagster/row_count": dg.MetadataValue.int(sum(one.pulled.new for one in outcomes)),
        "source": dg.MetadataValue.text(source_of(tenant)),
        "mode": dg.MetadataValue.text(", ".join(modes) or "not asked"),
        "rows_new": dg.MetadataValue.int(sum(one.pulled.new for one in outcomes)),
        "rows_changed": dg.MetadataValue.int(sum(one.pulled.changed for one in outcomes)),
        "rows_removed": dg.MetadataValue.int(sum(one.pulled.removed for one in outcomes)),
        **{name: dg.MetadataValue.int(int(_sum(outcomes, name))) for name in COUNTED},
        "waited_seconds": dg.MetadataValue.float(round(_sum(outcomes, "waited_seconds"), 3)),
        "possible_gap": dg.MetadataValue.bool(any(one.pulled.gap for one in outcomes)),
        "users": table(COLUMNS, [_row(one) for one in outcomes], empty=_nobody(tenant)),
        "purpose": dg.MetadataValue.text(dataset.purpose),
        "kept_days": dg.MetadataValue.int(dataset.kept_days(tenant.spotify.keep_days)),
        **({"put_off_until": dg.MetadataValue.text(f"{minute(max(waits))} UTC")} if waits else {}),
    }


def source_of(tenant: Tenant) -> str:
    """Say where a tenant's Spotify data come from."""
    return "sandbox: invented on this machine" if tenant.spotify.sandbox else "Spotify Web API"


def _sum(outcomes: Sequence[Outcome], name: str) -> float:
    return float(sum(one.usage.get(name, 0) for one in outcomes))


def _row(one: Outcome) -> tuple[object, ...]:
    pulled, usage = one.pulled, one.usage
    remarks = "; ".join(filter(None, (one.said if one.ending is not Ending.STORED else "", *pulled.notes)))
    return (
        *(one.user_id or "(tenant)", one.ending.value, pulled.new, pulled.changed, pulled.removed),
        *(int(usage.get(name, 0)) for name in ("requests", "not_modified", "cache_hits")),
        *(round(usage.get("waited_seconds", 0.0), 1), remarks),
    )


def _nobody(tenant: Tenant) -> str:
    return f"No user is connected: run `collectors spotify connect --tenant {tenant.id}`."
