"""What may be wrong with a database that answers: looked at, judged, and the remedy said."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from collectors_dagster.clock import Clock
from collectors_dagster.errors import MigrationError
from collectors_dagster.integrations.timescale.apache import read_jobs
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.edition import Edition, edition_of_server
from collectors_dagster.integrations.timescale.migrations import status
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("doctor")

OLDEST_POSTGRESQL = 15
OLDEST_FULL = (2, 18)
"""Before, TimescaleDB's inserts into compressed chunks could stop at the first row that was there already."""
GIBIBYTE = 2**30
SETTINGS = (
    *("fsync", "full_page_writes", "synchronous_commit", "autovacuum", "track_counts", "data_checksums"),
    *("data_directory", "timescaledb.restoring"),
)


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes
    ----------
    found : str
        What is the case.
    remedy : str
        What to do; empty if all is well.
    """

    check: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A background job of TimescaleDB; `ours` if it works on our tables."""

    number: int
    procedure: str
    ours: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found, before it is judged.

    Attributes
    ----------
    version_number : int
        As PostgreSQL counts: 150020 is 15.20.
    timescaledb, available : str or None
        TimescaleDB's version in this database, and the one that its files on the server are of.
    schema : Edition or None
        What the schema was made for; None if there is none that can be used.
    problem : str
        Why not.
    pending : tuple of str
        Migrations that are not applied.
    settings : mapping
        Of the server; those that the role may not see are absent.
    locks_wanted, locks : int
        Locks of a statement over all samples, and all there are.
    clock_seconds : float
        The server's clock less ours, and how uncertain that is.
    free_bytes : int or None
        On the disk of the data directory, if that is on this machine.
    local : bool
        Whether the connection comes from the server's own machine.
    tls : str or None
        The version with which it is encrypted.
    """

    version_number: int
    version: str
    timescaledb: str | None
    available: str | None
    licence: str | None
    transaction_age: int
    schema: Edition | None
    problem: str
    pending: tuple[str, ...]
    settings: Mapping[str, str]
    locks_wanted: int
    locks: int
    connections: int
    most_connections: int
    waiting: int
    idle_seconds: float
    clock_seconds: float
    clock_uncertainty_seconds: float
    size_bytes: int
    free_bytes: int | None
    jobs: tuple[Job, ...] = ()
    local: bool = True
    tls: str | None = None


def examine(conninfo: SecretStr, *, clock: Clock, directory: Path | None = None) -> list[Finding]:
    """Look at a database and judge it.

    Parameters
    ----------
    directory : Path, optional
        Where the server keeps its data, if the caller knows: a server tells only its administrators.

    Raises
    ------
    IntegrationError
        If it does not answer.
    """
    database = Database(conninfo, application_name="collectors-doctor", max_connections=1)
    try:
        return list(judged(_facts(database, conninfo, clock, directory)))
    finally:
        database.close()


def judged(facts: Facts) -> Iterator[Finding]:
    """Yield a finding per check."""
    yield _edition(facts)
    yield _postgresql(facts)
    yield _extension(facts)
    yield _migrations(facts)
    yield from _jobs(facts)
    yield _locks(facts)
    yield _sessions(facts)
    yield _encryption(facts)
    yield from _settings(facts)
    yield _clock(facts)
    yield _transactions(facts)
    yield _disk(facts)


def _edition(facts: Facts) -> Finding:
    offered = edition_of_server(facts.timescaledb, facts.licence)
    if facts.schema is None:
        return Finding("edition", State.FAILURE, facts.problem, "run `collectors db migrate`")
    if offered is not facts.schema:
        return Finding(
            "edition",
            State.WARNING,
            f"the schema is made for {facts.schema}, the server offers {offered}",
            "an edition is chosen when the schema is made: move the data to a new database to use the other one",
        )
    if facts.timescaledb is None and facts.available is not None:
        return Finding(
            "edition",
            State.WARNING,
            f"plain, though TimescaleDB {facts.available} lies on the server",
            "for a new database: `create extension timescaledb` in it before `collectors db migrate`",
        )
    return Finding("edition", State.OK, str(facts.schema))


def _postgresql(facts: Facts) -> Finding:
    major = facts.version_number // 10_000
    if major < OLDEST_POSTGRESQL:
        return Finding(
            "postgresql", State.FAILURE, facts.version, f"upgrade to PostgreSQL {OLDEST_POSTGRESQL} or later"
        )
    if major == OLDEST_POSTGRESQL and facts.timescaledb is not None:
        return Finding(
            "postgresql",
            State.WARNING,
            facts.version,
            "TimescaleDB 2.28 is the last for PostgreSQL 15: plan an upgrade",
        )
    return Finding("postgresql", State.OK, facts.version)


def _extension(facts: Facts) -> Finding:
    installed = facts.timescaledb
    if installed is None:
        return Finding("timescaledb", State.OK, "not in this database")
    if facts.available is not None and facts.available != installed:
        return Finding(
            "timescaledb",
            State.WARNING,
            f"{installed} in this database, {facts.available} on the server",
            "run `alter extension timescaledb update` as the first statement of a new session, in every database",
        )
    if facts.licence == "timescale" and _numbers(installed) < OLDEST_FULL:
        return Finding(
            "timescaledb",
            State.FAILURE,
            f"{installed}: late samples on compressed chunks can be lost",
            "upgrade TimescaleDB to 2.18 or later",
        )
    return Finding("timescaledb", State.OK, f"{installed}, licence {facts.licence}")


def _migrations(facts: Facts) -> Finding:
    if facts.pending:
        return Finding("migrations", State.FAILURE, f"{len(facts.pending)} pending", "run `collectors db migrate`")
    if facts.schema is None:
        return Finding("migrations", State.UNKNOWN, facts.problem, "see above")
    return Finding("migrations", State.OK, "all applied")


def _jobs(facts: Facts) -> Iterator[Finding]:
    policies = [f"{job.number} ({job.procedure})" for job in facts.jobs if job.ours]
    failed = [f"{job.number} ({job.procedure})" for job in facts.jobs if job.outcome == "Failed"]
    if policies:
        yield Finding(
            "policies",
            State.WARNING,
            f"policies on our tables: {', '.join(policies)}",
            "`select delete_job(NUMBER)`: retention and compression are decided per tenant and chunk by Dagster",
        )
    if failed:
        yield Finding(
            "jobs",
            State.WARNING,
            f"failed the last time: {', '.join(failed)}",
            "look into timescaledb_information.job_errors",
        )
    if not policies and not failed:
        yield Finding("jobs", State.OK, f"{len(facts.jobs)} background jobs, none failed, none on our tables")


def _locks(facts: Facts) -> Finding:
    found = f"{facts.locks_wanted} for a statement over all samples, of {facts.locks}"
    if facts.locks_wanted * 4 > facts.locks:
        return Finding(
            "locks", State.WARNING, found, "raise max_locks_per_transaction and restart the server, or keep fewer days"
        )
    return Finding("locks", State.OK, found)


def _sessions(facts: Facts) -> Finding:
    found = f"{facts.connections} of {facts.most_connections} connections"
    if facts.waiting or facts.idle_seconds > 300:
        return Finding(
            "sessions",
            State.WARNING,
            f"{facts.waiting} wait for a lock for 10 s; the longest idle transaction: {facts.idle_seconds:.0f} s",
            "find who blocks with pg_blocking_pids(), and end it",
        )
    if facts.connections * 10 > facts.most_connections * 8:
        return Finding("sessions", State.WARNING, found, "raise max_connections, or run fewer components")
    return Finding("sessions", State.OK, found)


def _encryption(facts: Facts) -> Finding:
    if facts.tls is None and not facts.local:
        return Finding(
            "encryption",
            State.WARNING,
            "the password's proof and all data go over the network in plain text",
            "switch the server's ssl on, and leave postgres.sslmode empty: then its certificate is verified",
        )
    return Finding("encryption", State.OK, facts.tls or "none; the server is on this machine")


def _settings(facts: Facts) -> Iterator[Finding]:
    unsafe = [name for name in ("fsync", "full_page_writes") if facts.settings.get(name) == "off"]
    for name in unsafe:
        yield Finding(name, State.FAILURE, "off: a crash of the machine can destroy the database", f"set {name} = on")
    if facts.settings.get("synchronous_commit") == "off":
        yield Finding(
            "synchronous_commit",
            State.FAILURE,
            "off: a crash loses what agents were told to be stored",
            "set synchronous_commit = on",
        )
        unsafe.append("synchronous_commit")
    for name in ("autovacuum", "track_counts"):
        if facts.settings.get(name) == "off":
            yield Finding(name, State.WARNING, "off: dead rows and stale statistics pile up", f"set {name} = on")
    if facts.settings.get("timescaledb.restoring") == "on":
        yield Finding(
            "timescaledb.restoring", State.FAILURE, "on", "run `select timescaledb_post_restore()` after the restore"
        )
    if not unsafe:
        checksums = facts.settings.get("data_checksums", "unknown")
        yield Finding("durability", State.OK, f"what is committed is on the disk; checksums {checksums}")


def _clock(facts: Facts) -> Finding:
    found = f"the server's is {facts.clock_seconds:+.3f} s from ours, known to {facts.clock_uncertainty_seconds:.3f} s"
    if abs(facts.clock_seconds) > 2 + facts.clock_uncertainty_seconds:
        return Finding("clock", State.WARNING, found, "let NTP set the clocks of both machines")
    return Finding("clock", State.OK, found)


def _transactions(facts: Facts) -> Finding:
    found = f"the oldest row is {facts.transaction_age:,} transactions old"
    if facts.transaction_age > 1_000_000_000:
        return Finding("wraparound", State.FAILURE, found, "run `vacuum freeze` now: at two thousand million it stops")
    return Finding("wraparound", State.OK, found)


def _disk(facts: Facts) -> Finding:
    size = f"the database has {facts.size_bytes / GIBIBYTE:.2f} GiB"
    if facts.free_bytes is None:
        return Finding(
            "disk", State.UNKNOWN, f"{size}; its disk is not to be seen from here", "look on the server: `df`"
        )
    found = f"{size}, {facts.free_bytes / GIBIBYTE:.1f} GiB are free"
    if facts.free_bytes < GIBIBYTE:
        return Finding("disk", State.FAILURE, found, "free some, or keep fewer days (retention.raw_days)")
    if facts.free_bytes < max(facts.size_bytes // 5, 2 * GIBIBYTE):
        return Finding("disk", State.WARNING, found, "plan for more, or keep fewer days (retention.raw_days)")
    return Finding("disk", State.OK, found)


def _facts(database: Database, conninfo: SecretStr, clock: Clock, directory: Path | None) -> Facts:
    schema, problem, pending = _schema(conninfo)
    with database.transaction("examine the database") as cursor:
        number, version, installed, available, licence, age = _row(cursor, "versions")
        settings = dict(cursor.execute(QUERIES["settings"], {"names": list(SETTINGS)}).fetchall())
        wanted, locks = (0, 0) if schema is None else _row(cursor, "locks")
        connections, most, waiting, idle = _row(cursor, "sessions")
        before = clock.now()
        (theirs,) = _row(cursor, "clock")
        ahead, uncertainty = _apart(theirs, before, clock.now())
        (size,) = _row(cursor, "size")
        local, tls = _row(cursor, "encryption")
        named = settings.get("data_directory") if local else None  # elsewhere, the path is another machine's
        free = _free(directory or (Path(named) if named else None))
        jobs = () if schema in {None, Edition.PLAIN} else tuple(Job(*row) for row in read_jobs(cursor))
    return Facts(
        *(number, version, installed, available, licence, age, schema, problem, pending, settings, wanted, locks),
        *(connections, most, waiting, idle, ahead, uncertainty, size, free, jobs),
        local=local,
        tls=tls,
    )


def _schema(conninfo: SecretStr) -> tuple[Edition | None, str, tuple[str, ...]]:
    """Return what the schema was made for, or why it cannot be used, and what is pending."""
    try:
        report = status(conninfo)
    except MigrationError as error:
        return None, str(error), ()
    if not report.current:
        return None, "there is no schema", report.pending
    return report.edition, "", report.pending


def _row(cursor: Cursor, query: str) -> tuple[Any, ...]:
    row = cursor.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row


def _apart(theirs: datetime, before: datetime, after: datetime) -> tuple[float, float]:
    """Return how far another clock is ahead of ours that was asked in between, and how uncertain that is."""
    half = (after - before) / 2
    return (theirs - (before + half)).total_seconds(), half.total_seconds()


def _free(directory: Path | None) -> int | None:
    return shutil.disk_usage(directory).free if directory and directory.is_dir() else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
