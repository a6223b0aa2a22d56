"""The platform's side of the store: one object per deployment's database, one attribute per table."""

from types import TracebackType
from typing import Self

from pydantic import SecretStr

from collectors_dagster.integrations.timescale.backend import Backend, PlainPostgres
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.tenants import TenantTable


class Store:
    """All tables of the platform.

    Parameters
    ----------
    conninfo : SecretStr
        A libpq URL without a driver's name. Nothing connects before the first call.
    application_name : str
        Shown in ``pg_stat_activity``: the component that asks.
    max_connections : int
        At most so many connections at once.
    """

    def __init__(
        self,
        conninfo: SecretStr,
        *,
        application_name: str,
        max_connections: int = 4,
        backend: Backend | None = None,
    ) -> None:
        self._database = Database(conninfo, application_name=application_name, max_connections=max_connections)
        self._backend = backend or PlainPostgres()
        self.tenants = TenantTable(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
