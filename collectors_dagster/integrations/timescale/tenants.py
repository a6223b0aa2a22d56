"""Tenants in the database: what is configured, kept equal, and the surrogate keys."""

from collections.abc import Sequence

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale.connection import Transactions
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.tenants import Tenant, checked_tenant_id

QUERIES = load_queries("tenants")


class TenantTable:
    """``core.tenant``."""

    def __init__(self, database: Transactions) -> None:
        self._database = database
        self._keys: dict[str, int] = {}

    def sync(self, tenants: Sequence[Tenant]) -> None:
        """Make the table equal to the configuration: for those who own it (the Dagster side and the commands).

        New tenants are added in the given order, changed ones updated, missing ones marked as removed
        (nothing of theirs is deleted). Doing it again changes nothing.
        """
        with self._database.transaction("synchronise tenants") as cursor:
            cursor.execute(QUERIES["lock"])
            for tenant in tenants:
                cursor.execute(QUERIES["upsert"], _row(tenant))
            cursor.execute(QUERIES["remove_others"], {"tenant_ids": [tenant.id for tenant in tenants]})

    def introduce(self, tenant: Tenant) -> None:
        """Add a tenant that nobody has told the database of; one that is there is left as it is.

        For those who know a tenant but not all of them: several agents may have directories of their own.
        """
        with self._database.transaction("introduce a tenant") as cursor:
            cursor.execute(QUERIES["introduce"], _row(tenant))

    def forget(self, tenant_id: str) -> None:
        """Look the tenant's key up again the next time: it may have been erased."""
        self._keys.pop(tenant_id, None)

    def ids(self) -> list[str]:
        """Return the active tenants in insertion order."""
        with self._database.transaction("list tenants") as cursor:
            return [row[0] for row in cursor.execute(QUERIES["ids"])]

    def key(self, tenant_id: str) -> int:
        """Return the surrogate key of a tenant, active or removed.

        Raises
        ------
        TenantIsolationError
            If this cannot be a tenant's id.
        StorageError
            If there is no such tenant.
        """
        known = self._keys.get(tenant_id)
        return known if known is not None else self._read_key(checked_tenant_id(tenant_id))

    def _read_key(self, tenant_id: str) -> int:
        with self._database.transaction("find a tenant") as cursor:
            row = cursor.execute(QUERIES["key"], {"tenant_id": tenant_id}).fetchone()
        if row is None:
            raise StorageError(f"tenant {tenant_id!r} is not in the database: synchronise the tenants first")
        self._keys[tenant_id] = int(row[0])
        return self._keys[tenant_id]


def _row(tenant: Tenant) -> dict[str, object]:
    return {
        "tenant_id": tenant.id,
        "name": tenant.name,
        "tier": tenant.tier.value,
        "synthetic": tenant.synthetic,
    }
