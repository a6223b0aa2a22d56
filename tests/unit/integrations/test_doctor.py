"""What the doctor makes of what it found."""

from dataclasses import replace

import pytest

from collectors_dagster.integrations.timescale.doctor import Facts, Finding, Job, State, judged
from collectors_dagster.integrations.timescale.edition import Edition

HEALTHY = Facts(
    version_number=170_011,
    version="17.11",
    timescaledb="2.28.3",
    available="2.28.3",
    licence="timescale",
    transaction_age=1000,
    schema=Edition.FULL,
    problem="",
    pending=(),
    settings={"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"},
    locks_wanted=20,
    locks=6400,
    connections=5,
    most_connections=100,
    waiting=0,
    idle_seconds=0.0,
    clock_seconds=0.001,
    clock_uncertainty_seconds=0.001,
    size_bytes=2**30,
    free_bytes=50 * 2**30,
)


def test_a_healthy_database_has_nothing_to_remedy() -> None:
    assert {(one.state, one.remedy) for one in judged(HEALTHY)} == {(State.OK, "")}


@pytest.mark.parametrize(
    ("change", "check", "state", "remedy"),
    [
        ({"licence": "apache"}, "edition", State.WARNING, "new database"),
        ({"schema": None, "problem": "there is no schema"}, "edition", State.FAILURE, "collectors db migrate"),
        (
            {"schema": Edition.PLAIN, "timescaledb": None},
            "edition",
            State.WARNING,
            "create extension timescaledb",
        ),
        ({"version_number": 140_001}, "postgresql", State.FAILURE, "PostgreSQL 15 or later"),
        ({"version_number": 150_020}, "postgresql", State.WARNING, "plan an upgrade"),
        ({"available": "2.29.0"}, "timescaledb", State.WARNING, "alter extension timescaledb update"),
        ({"timescaledb": "2.17.2", "available": "2.17.2"}, "timescaledb", State.FAILURE, "2.18"),
        ({"pending": ("0001_pre_core",)}, "migrations", State.FAILURE, "collectors db migrate"),
        ({"locks_wanted": 2000}, "locks", State.WARNING, "max_locks_per_transaction"),
        ({"connections": 90}, "sessions", State.WARNING, "max_connections"),
        ({"waiting": 1}, "sessions", State.WARNING, "pg_blocking_pids"),
        ({"idle_seconds": 301.0}, "sessions", State.WARNING, "pg_blocking_pids"),
        ({"local": False}, "encryption", State.WARNING, "postgres.sslmode"),
        ({"settings": {"fsync": "off"}}, "fsync", State.FAILURE, "fsync = on"),
        ({"settings": {"synchronous_commit": "off"}}, "synchronous_commit", State.FAILURE, "synchronous_commit = on"),
        ({"settings": {"autovacuum": "off"}}, "autovacuum", State.WARNING, "autovacuum = on"),
        (
            {"settings": {"timescaledb.restoring": "on"}},
            "timescaledb.restoring",
            State.FAILURE,
            "timescaledb_post_restore",
        ),
        ({"clock_seconds": -3.0}, "clock", State.WARNING, "NTP"),
        ({"transaction_age": 1_500_000_000}, "wraparound", State.FAILURE, "vacuum freeze"),
        ({"free_bytes": 10**8}, "disk", State.FAILURE, "retention.raw_days"),
        ({"free_bytes": 15 * 10**8}, "disk", State.WARNING, "retention.raw_days"),
        ({"free_bytes": None}, "disk", State.UNKNOWN, "df"),
        ({"jobs": (Job(1000, "policy_retention", ours=True, outcome=""),)}, "policies", State.WARNING, "delete_job"),
        ({"jobs": (Job(1, "mine", ours=False, outcome="Failed"),)}, "jobs", State.WARNING, "job_errors"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    change: dict[str, object], check: str, state: State, remedy: str
) -> None:
    found = [one for one in judged(replace(HEALTHY, **change)) if one.state is not State.OK]  # type: ignore[arg-type]  # a table
    assert any(_is(one, check, state, remedy) for one in found), found


def _is(finding: Finding, check: str, state: State, remedy: str) -> bool:
    return (finding.check, finding.state) == (check, state) and remedy in finding.remedy
