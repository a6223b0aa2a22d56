"""The platform's side of the store: one object per deployment's database, one attribute per table.

Tables are imported when they are first asked for: the definitions name the store in every process, and most of those
touch a few of its tables, or none.
"""

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.series import SeriesTable
from collectors_dagster.integrations.timescale.tenants import TenantTable

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale.alerts import AlertLedger
    from collectors_dagster.integrations.timescale.compression import ChunkCompression
    from collectors_dagster.integrations.timescale.failures import FailureLedger
    from collectors_dagster.integrations.timescale.features import FeatureTable
    from collectors_dagster.integrations.timescale.feedback import FeedbackTable
    from collectors_dagster.integrations.timescale.forecasts import ForecastTable
    from collectors_dagster.integrations.timescale.guard import DatabaseGuard
    from collectors_dagster.integrations.timescale.health import HealthTable
    from collectors_dagster.integrations.timescale.incidents import IncidentTable
    from collectors_dagster.integrations.timescale.ledger import LoadLedger
    from collectors_dagster.integrations.timescale.planted import PlantedTable
    from collectors_dagster.integrations.timescale.reading import SeriesReader
    from collectors_dagster.integrations.timescale.retention import RetentionPolicy
    from collectors_dagster.integrations.timescale.rollups import RollupTable
    from collectors_dagster.integrations.timescale.samples import SampleTable
    from collectors_dagster.integrations.timescale.scores import ScoreTable
    from collectors_dagster.integrations.timescale.spotify import SpotifyStore
    from collectors_dagster.integrations.timescale.spotify_accounts import SpotifyAccountTable
    from collectors_dagster.integrations.timescale.sql_roles import SqlRoleTable


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
    guard : DatabaseGuard, optional
        The policies to call the database under.
    """

    def __init__(
        self,
        conninfo: SecretStr,
        *,
        application_name: str,
        max_connections: int = 4,
        guard: "DatabaseGuard | None" = None,
    ) -> None:
        from collectors_dagster.integrations.timescale.database import Database  # noqa: PLC0415  # psycopg

        database = Database(conninfo, application_name=application_name, max_connections=max_connections, guard=guard)
        backend = FoundBackend()
        tenants = TenantTable(database)
        self._conninfo = conninfo
        self._database = database
        self._backend = backend
        self.tenants = tenants

    def edition(self) -> Edition:
        """Return the edition of the database that the schema was made for."""
        with self._database.transaction("find the edition") as cursor:
            return self._backend.of(cursor).edition

    @cached_property
    def ledger(self) -> "LoadLedger":
        """The windows that were loaded."""
        from collectors_dagster.integrations.timescale.ledger import LoadLedger  # noqa: PLC0415 - see above

        return LoadLedger(self._database, self.tenants)

    @cached_property
    def rollups(self) -> "RollupTable":
        """Hourly and daily aggregates."""
        from collectors_dagster.integrations.timescale.rollups import RollupTable  # noqa: PLC0415 - see above

        return RollupTable(self._database, self.tenants, self._backend)

    @cached_property
    def scores(self) -> "ScoreTable":
        """Scores of record."""
        from collectors_dagster.integrations.timescale.scores import ScoreTable  # noqa: PLC0415 - see above

        return ScoreTable(self._database, self.tenants)

    @cached_property
    def incidents(self) -> "IncidentTable":
        """Incidents of stream and batch."""
        from collectors_dagster.integrations.timescale.incidents import IncidentTable  # noqa: PLC0415 - see above

        return IncidentTable(self._database, self.tenants)

    @cached_property
    def feedback(self) -> "FeedbackTable":
        """What people said about incidents."""
        from collectors_dagster.integrations.timescale.feedback import FeedbackTable  # noqa: PLC0415 - see above

        return FeedbackTable(self._database, self.tenants)

    @cached_property
    def alerts(self) -> "AlertLedger":
        """Alerts and their deliveries."""
        from collectors_dagster.integrations.timescale.alerts import AlertLedger  # noqa: PLC0415 - see above

        return AlertLedger(self._database)

    @cached_property
    def failures(self) -> "FailureLedger":
        """Failed runs and tenants."""
        from collectors_dagster.integrations.timescale.failures import FailureLedger  # noqa: PLC0415 - see above

        return FailureLedger(self._database, self.tenants)

    @cached_property
    def forecasts(self) -> "ForecastTable":
        """Forecasts with their intervals."""
        from collectors_dagster.integrations.timescale.forecasts import ForecastTable  # noqa: PLC0415 - see above

        return ForecastTable(self._database, self.tenants)

    @cached_property
    def health(self) -> "HealthTable":
        """Health reports."""
        from collectors_dagster.integrations.timescale.health import HealthTable  # noqa: PLC0415 - see above

        return HealthTable(self._database, self.tenants)

    @cached_property
    def planted(self) -> "PlantedTable":
        """The truth of synthetic tenants."""
        from collectors_dagster.integrations.timescale.planted import PlantedTable  # noqa: PLC0415 - see above

        return PlantedTable(self._database, self.tenants)

    @cached_property
    def spotify_accounts(self) -> "SpotifyAccountTable":
        """Spotify accounts and their sealed tokens."""
        from collectors_dagster.integrations.timescale.spotify_accounts import (  # noqa: PLC0415 - see above
            SpotifyAccountTable,
        )

        return SpotifyAccountTable(self._database, self.tenants)

    @cached_property
    def sql_roles(self) -> "SqlRoleTable":
        """Database logins of tenants and staff."""
        from collectors_dagster.integrations.timescale.sql_roles import SqlRoleTable  # noqa: PLC0415 - see above

        return SqlRoleTable(self._database, self.tenants, self._conninfo)

    @cached_property
    def spotify(self) -> "SpotifyStore":
        """What was pulled from Spotify."""
        from collectors_dagster.integrations.timescale.spotify import SpotifyStore  # noqa: PLC0415 - see above

        return SpotifyStore(self._database, self.tenants)

    @cached_property
    def compression(self) -> "ChunkCompression":
        """Compression of old chunks."""
        from collectors_dagster.integrations.timescale.compression import ChunkCompression  # noqa: PLC0415 - see above

        return ChunkCompression(self._database, self._backend)

    @cached_property
    def retention(self) -> "RetentionPolicy":
        """What is forgotten, and when."""
        from collectors_dagster.integrations.timescale.retention import RetentionPolicy  # noqa: PLC0415 - see above

        return RetentionPolicy(self._database, self.tenants, self._backend)

    @cached_property
    def samples(self) -> "SampleTable":
        """The samples; numpy is imported when some are written."""
        from collectors_dagster.integrations.timescale.samples import SampleTable  # noqa: PLC0415 - see above

        return SampleTable(self._database, self.tenants, SeriesTable(self._database), self._backend)

    @cached_property
    def reader(self) -> "SeriesReader":
        """The series in bulk; as with the samples."""
        from collectors_dagster.integrations.timescale.reading import SeriesReader  # noqa: PLC0415  # numpy

        return SeriesReader(self._database, self.tenants)

    @cached_property
    def features(self) -> "FeatureTable":
        """The feature table; as with the samples."""
        from collectors_dagster.integrations.timescale.features import FeatureTable  # noqa: PLC0415  # numpy

        return FeatureTable(self._database, self.tenants)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
