"""The platform's side of the store: one object per deployment's database, one attribute per table."""

from types import TracebackType
from typing import Self

from pydantic import SecretStr

from collectors_dagster.integrations.timescale.alerts import AlertLedger
from collectors_dagster.integrations.timescale.backend import Backend, PlainPostgres
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.features import FeatureTable
from collectors_dagster.integrations.timescale.forecasts import ForecastTable
from collectors_dagster.integrations.timescale.health import HealthTable
from collectors_dagster.integrations.timescale.incidents import IncidentTable
from collectors_dagster.integrations.timescale.ledger import LoadLedger
from collectors_dagster.integrations.timescale.planted import PlantedTable
from collectors_dagster.integrations.timescale.retention import RetentionPolicy
from collectors_dagster.integrations.timescale.rollups import RollupTable
from collectors_dagster.integrations.timescale.samples import SampleTable
from collectors_dagster.integrations.timescale.scores import ScoreTable
from collectors_dagster.integrations.timescale.series import SeriesTable
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
        database = Database(conninfo, application_name=application_name, max_connections=max_connections)
        chosen = backend or PlainPostgres()
        tenants = TenantTable(database)
        self._database = database
        self.tenants = tenants
        self.samples = SampleTable(database, tenants, SeriesTable(database), chosen)
        self.ledger = LoadLedger(database, tenants)
        self.rollups = RollupTable(database, tenants)
        self.features = FeatureTable(database, tenants)
        self.scores = ScoreTable(database, tenants)
        self.incidents = IncidentTable(database, tenants)
        self.alerts = AlertLedger(database)
        self.forecasts = ForecastTable(database, tenants)
        self.health = HealthTable(database, tenants)
        self.planted = PlantedTable(database, tenants)
        self.retention = RetentionPolicy(database, tenants, chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
