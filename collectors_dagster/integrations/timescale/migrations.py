"""Migrations: numbered SQL files, each applied once, in order, in a transaction of its own.

``NNNN_pre_name.sql`` runs before new code is deployed, ``NNNN_post_name.sql`` after it. A file that
was applied must never change: its checksum is in ``core.schema_migration``.

A file whose first line is ``-- no transaction: REASON`` holds what cannot run in one (``create index concurrently``).
Each of its statements commits by itself, and it is booked after the last: killed in the middle, it is run again from
its first statement. So each must stand being repeated, and clear first what a killed one leaves (an invalid index).

``NNNN_pre_name.apache.full.sql`` is for these editions of the database only. A schema is made for the edition that the
server offers when it is made, and keeps it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise

import psycopg
from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.errors import MigrationError, ServiceTimeoutError
from collectors_dagster.integrations.timescale.border import mapped_errors
from collectors_dagster.integrations.timescale.edition import Edition, edition_of_schema, edition_of_server
from collectors_dagster.integrations.timescale.faults import SERVICE
from collectors_dagster.integrations.timescale.pool import CONNECT_SECONDS, TCP_USER_TIMEOUT_MILLISECONDS
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("migrations")

_OPTIONS = "-c lock_timeout=60s -c statement_timeout=1h -c idle_in_transaction_session_timeout=300s -c timezone=UTC"
"""A statement may rewrite a large table, but not wait for long: everybody who comes later waits behind it."""
_LOCK_SECONDS = 60.0
"""How long to wait for another migrator."""
_LOCK_POLL_SECONDS = 0.2

_NAME = re.compile(r"(?P<version>\d{4})_(?P<phase>pre|post)_(?P<name>[a-z0-9_]+)(?P<editions>(\.[a-z]+)*)\.sql")
_NO_TRANSACTION = re.compile(r"-- no transaction: \S.*\n")
_REMARK = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file.

    Attributes
    ----------
    editions : frozenset of Edition
        Those it is for.
    """

    version: int
    phase: str
    name: str
    text: str
    editions: frozenset[Edition] = frozenset(Edition)

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Whether it is applied whole or not at all."""
        return _NO_TRANSACTION.match(self.text) is None

    @property
    def statements(self) -> tuple[str, ...]:
        """Its statements, one by one; each ends with a semicolon at the end of a line, and none holds such a line."""
        parts = (part.strip() for part in _STATEMENT_END.split(_REMARK.sub("", self.text)))
        return tuple(part for part in parts if part)

    @property
    def title(self) -> str:
        """The file's name without its extension."""
        return f"{self.version:04d}_{self.phase}_{self.name}"


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What was done, what was there, what is left.

    Attributes
    ----------
    applied : titles applied by this call
    current : titles in the database, including those just applied
    pending : titles not in the database yet
    edition : Edition
        What the schema is made for, or would be.
    postgresql : str
        The server's version.
    timescaledb : str or None
        The extension's version in this database.
    seconds : float
        Time this call took, waiting for another migrator included.
    """

    applied: tuple[str, ...]
    current: tuple[str, ...]
    pending: tuple[str, ...]
    edition: Edition
    postgresql: str
    timescaledb: str | None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Server:
    postgresql: str
    timescaledb: str | None
    licence: str | None

    @property
    def edition(self) -> Edition:
        return edition_of_server(self.timescaledb, self.licence)


@cache
def shipped_migrations(edition: Edition = Edition.PLAIN) -> tuple[Migration, ...]:
    """Return the migrations of an edition that come with this code, in order."""
    return tuple(migration for migration in _all_migrations() if edition in migration.editions)


@cache
def _all_migrations() -> tuple[Migration, ...]:
    folder = files("collectors_dagster.integrations.timescale") / "sql" / "migrations"
    found = sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir())
    migrations = tuple(_migration(name, text) for name, text in found)
    versions = sorted({migration.version for migration in migrations})
    if versions != list(range(1, len(versions) + 1)):
        raise MigrationError("the migrations' numbers must go up from 0001 without gaps")
    for one, other in pairwise(migrations):
        if one.version == other.version and one.editions & other.editions:
            raise MigrationError(f"migration {one.version:04d} is there twice for one edition")
    return migrations


def migrate(
    conninfo: SecretStr,
    *,
    clock: Clock,
    include_post: bool = True,
    migrations: tuple[Migration, ...] | None = None,
) -> MigrationReport:
    """Bring the schema up to date.

    Each migration commits by itself: killed in the middle, the next call goes on from there. Two
    callers at once are put in a row by an advisory lock.

    Parameters
    ----------
    include_post : bool
        False stops before the first pending ``post`` migration (the old code still runs).
    migrations : tuple of Migration, optional
        Other migrations than the shipped ones.

    Raises
    ------
    MigrationError
        If an applied file was changed, the database is newer than this code, the server does not offer the edition
        that the schema was made for, or a statement fails.
    ServiceTimeoutError
        If another migrator does not come to its end within a minute.
    """
    started = clock.monotonic()
    with mapped_errors("migrate the database"), _locked(conninfo, clock) as connection:
        server = _server(connection)
        edition = _edition(connection, server)
        known = shipped_migrations(edition) if migrations is None else migrations
        due = _due(_pending(connection, known), include_post=include_post)
        for migration in due:
            _apply(connection, migration, clock)
        return _report(connection, (server, edition), known, due, clock.monotonic() - started)


def status(conninfo: SecretStr, *, migrations: tuple[Migration, ...] | None = None) -> MigrationReport:
    """Say which migrations are in the database and which are not, changing nothing.

    Raises
    ------
    MigrationError
        As :func:`migrate`, before anything is tried.
    """
    with mapped_errors("read the state of the schema"), _connected(conninfo) as connection:
        server = _server(connection)
        edition = _edition(connection, server)
        known = shipped_migrations(edition) if migrations is None else migrations
        return _report(connection, (server, edition), known, (), 0.0)


def _migration(file_name: str, text: str) -> Migration:
    match = _NAME.fullmatch(file_name)
    if match is None:
        raise MigrationError(f"migration {file_name!r}: name it NNNN_pre_words.sql or NNNN_post_words.sql")
    try:
        editions = frozenset(Edition(name) for name in match["editions"].split(".")[1:])
    except ValueError:
        known = ", ".join(Edition)
        raise MigrationError(f"migration {file_name!r}: the editions are {known}") from None
    migration = Migration(int(match["version"]), match["phase"], match["name"], text, editions or frozenset(Edition))
    if not migration.in_transaction and "$$" in text:
        raise MigrationError(f"migration {file_name!r}: a body in $$ belongs into a file with a transaction")
    return migration


@contextmanager
def _connected(conninfo: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        conninfo.get_secret_value(),
        autocommit=True,
        application_name="collectors-migrate",
        options=_OPTIONS,
        connect_timeout=CONNECT_SECONDS,
        tcp_user_timeout=TCP_USER_TIMEOUT_MILLISECONDS,
    ) as connection:
        yield connection


@contextmanager
def _locked(conninfo: SecretStr, clock: Clock) -> Iterator[psycopg.Connection]:
    """Hold the migrators' lock for the session: it ends with the connection, however that ends.

    Asked for again and again, not waited for: a waiting statement holds a snapshot, and the other one's
    ``create index concurrently`` would wait for that, and so for us.
    """
    give_up = clock.monotonic() + _LOCK_SECONDS
    with _connected(conninfo) as connection:
        while not _truth(connection, "try_lock"):
            if clock.monotonic() >= give_up:
                raise ServiceTimeoutError(
                    "cannot migrate the database: another migrator has been at work for a minute; wait for its end",
                    service=SERVICE,
                    operation="migrate the database",
                )
            clock.sleep(_LOCK_POLL_SECONDS)
        yield connection


def _server(connection: psycopg.Connection) -> _Server:
    row = connection.execute(QUERIES["server"]).fetchone()
    assert row is not None
    return _Server(*row)


def _edition(connection: psycopg.Connection, server: _Server) -> Edition:
    """Return the edition to migrate: the schema's once it holds something, the server's before."""
    row = connection.execute(QUERIES["shape"]).fetchone()
    assert row is not None
    made_for = edition_of_schema(row[0], row[1])
    if made_for is None or _may_become(connection, made_for, server.edition):
        return server.edition
    if made_for in {Edition.APACHE, Edition.FULL} and server.timescaledb is None:
        raise MigrationError("the schema was made for TimescaleDB, which is not installed in this database any more")
    if made_for is Edition.FULL and server.edition is not Edition.FULL:
        raise MigrationError(
            "the schema was made for TimescaleDB's full edition, and the server runs it under the Apache licence: "
            "set timescaledb.license = 'timescale' in postgresql.conf and restart the server"
        )
    return made_for


def _may_become(connection: psycopg.Connection, made_for: Edition, offered: Edition) -> bool:
    """Say whether migrations lead from one edition to the other: while nothing would be lost, and in their order."""
    ways = {
        (Edition.PLAIN, Edition.APACHE): ("has_samples", "has_aggregates"),
        (Edition.PLAIN, Edition.FULL): ("has_samples", "has_aggregates"),
        (Edition.APACHE, Edition.FULL): ("has_aggregates",),
    }
    questions = ways.get((made_for, offered))
    if questions is None or any(_truth(connection, question) for question in questions):
        return False
    applied = _applied(connection)
    missing = [one.version for one in shipped_migrations(offered) if one.version not in applied]
    return not missing or min(missing) > max(applied, default=0)


def _truth(connection: psycopg.Connection, question: str) -> bool:
    row = connection.execute(QUERIES[question]).fetchone()
    return row is not None and bool(row[0])


def _applied(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    exists = connection.execute(QUERIES["exists"]).fetchone()
    if exists is None or not exists[0]:
        return {}
    return {row[0]: (row[1], row[2]) for row in connection.execute(QUERIES["applied"])}


def _pending(connection: psycopg.Connection, known: tuple[Migration, ...]) -> tuple[Migration, ...]:
    applied = _applied(connection)
    versions = {migration.version for migration in known}
    newer = [name for version, (name, _) in sorted(applied.items()) if version not in versions]
    if newer:
        raise MigrationError(f"the database is newer than this code (it has {newer[-1]}): update the code")
    for migration in known:
        _refuse_changed(migration, applied)
    return tuple(migration for migration in known if migration.version not in applied)


def _refuse_changed(migration: Migration, applied: dict[int, tuple[str, str]]) -> None:
    row = applied.get(migration.version)
    if row is not None and row[1] != migration.checksum:
        raise MigrationError(
            f"migration {migration.title} was changed after it was applied: restore it and add a new one"
        )


def _due(pending: tuple[Migration, ...], *, include_post: bool) -> tuple[Migration, ...]:
    if include_post:
        return pending
    first_post = next((i for i, migration in enumerate(pending) if migration.phase == "post"), len(pending))
    return pending[:first_post]


def _apply(connection: psycopg.Connection, migration: Migration, clock: Clock) -> None:
    started = clock.monotonic()
    outcome = "was undone" if migration.in_transaction else "stopped there; mend the cause and run it again"
    try:
        with connection.transaction() if migration.in_transaction else nullcontext():
            for statement in (migration.text,) if migration.in_transaction else migration.statements:
                connection.execute(statement.encode())
            connection.execute(QUERIES["record"], _record(migration, clock, clock.monotonic() - started))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationError(
            f"migration {migration.title} failed and {outcome}: {error.diag.message_primary or error}"
        ) from error


def _record(migration: Migration, clock: Clock, seconds: float) -> dict[str, object]:
    return {
        "version": migration.version,
        "name": migration.title,
        "sha256": migration.checksum,
        "applied_at": clock.now(),
        "seconds": seconds,
    }


def _report(
    connection: psycopg.Connection,
    found: tuple[_Server, Edition],
    known: tuple[Migration, ...],
    done: tuple[Migration, ...],
    seconds: float,
) -> MigrationReport:
    pending = _pending(connection, known)
    server, edition = found
    return MigrationReport(
        applied=tuple(migration.title for migration in done),
        current=tuple(migration.title for migration in known if migration not in pending),
        pending=tuple(migration.title for migration in pending),
        edition=edition,
        postgresql=server.postgresql,
        timescaledb=server.timescaledb,
        seconds=seconds,
    )
