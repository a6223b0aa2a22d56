"""Dagster's own storage with a connection that is kept: named in ``dagster.yaml``, opened by every Dagster process.

Stock ``dagster-postgres`` opens a connection for every call and writes planned materialisations one by one. For a run
of fifty tenants and seven assets that is 750 connections before the run has begun.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData
    from dagster_postgres.auth import PgTokenProvider
    from sqlalchemy.engine import Engine

MOST_CONNECTIONS = 30
"""Of one process, for a moment: a web page asks many questions at once. Further ones wait."""
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
Url = str


class PooledPostgresStorage(DagsterPostgresStorage):
    """PostgreSQL for runs, events and schedules over one pool: one idle connection per process, more while needed."""

    def __init__(
        self,
        postgres_url: Url,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - Dagster calls it so
        inst_data: "ConfigurableClassData | None" = None,
        token_provider: "PgTokenProvider | None" = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        engine = _pooled(postgres_url, token_provider)
        self._run_storage._engine = engine  # noqa: SLF001 - there is no other way in
        self._schedule_storage._engine = engine  # noqa: SLF001
        self._event_log_storage = BatchingEventLog(postgres_url, engine, token_provider)

    @classmethod
    def from_config_value(
        cls, inst_data: "ConfigurableClassData | None", config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Return the storage that ``dagster.yaml`` describes."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


class BatchingEventLog(PostgresEventLogStorage):
    """The event log, writing planned materialisations in few statements and looking for its tables once.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        Shared with the other storages. The tables exist.
    """

    def __init__(self, postgres_url: Url, engine: "Engine", token_provider: "PgTokenProvider | None") -> None:
        self._found: set[str] = set()
        super().__init__(postgres_url, should_autocreate_tables=False, token_provider=token_provider)
        self._engine = engine

    def has_table(self, table_name: str) -> bool:
        """Tell whether a table exists; one that was seen stays."""
        if table_name not in self._found and super().has_table(table_name):
            self._found.add(table_name)
        return table_name in self._found

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one batch; those that announce materialisations in one statement per table."""
        if {event.dagster_event_type for event in events} == {PLANNED}:
            self._store_planned(events)
        else:
            super().store_event_batch(events)

    def _store_planned(self, events: Sequence[dg.EventLogEntry]) -> None:
        insert = self.prepare_insert_event_batch(events).returning(_id_column())
        with self._connect() as connection:
            ids = [int(row[0]) for row in connection.execute(insert)]
        newest = {event.dagster_event.asset_key: at for at, event in enumerate(events) if event.dagster_event}
        with self.index_transaction() as connection:
            self._store_asset_event_tags(connection, events, ids)
            for at in newest.values():
                self._store_asset_event(connection, events[at], ids[at])


def _id_column() -> Any:
    from dagster._core.storage.event_log import SqlEventLogStorageTable  # Dagster exports no public name

    return SqlEventLogStorageTable.c.id


def _pooled(postgres_url: Url, token_provider: "PgTokenProvider | None") -> "Engine":
    return create_pg_engine(
        postgres_url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=MOST_CONNECTIONS - 1,
        pool_pre_ping=True,  # the database may have been restarted since
    )
