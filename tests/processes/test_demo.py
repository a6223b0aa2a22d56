"""``collectors demo seed`` as a user runs it, on a real database."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Contribution, Incident, Severity
from tests.support.environment import clean_environment
from tests.support.postgres import PASSWORD
from tests.support.project import Project

SHOWCASE = "id: showcase\nname: Showcase\nsynthetic: true\nsources: {system_performance: {enabled: false}}\n"


@pytest.fixture
def environment(tmp_path: Path, database: SecretStr) -> dict[str, str]:
    project = Project(tmp_path)
    project.write("config/tenants/showcase.yml", SHOWCASE)
    project.write("config/tenants/acme.yml", "id: acme\nname: Acme\n")
    server, _, name = database.get_secret_value().rpartition("/")
    return clean_environment(
        COLLECTORS_HOME=str(tmp_path / "home"),
        COLLECTORS_CONFIG_DIR=str(tmp_path / "config"),
        POSTGRES_HOST="127.0.0.1",
        POSTGRES_PORT=server.rpartition(":")[2],
        POSTGRES_DB=name,
        POSTGRES_USER="collectors",
        POSTGRES_PASSWORD=PASSWORD,
    )


def demo(environment: dict[str, str], *words: str, command: str = "seed") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "collectors_dagster.cli", "demo", command, *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)


def checksum(database: SecretStr) -> tuple[int, int]:
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute("select count(*), sum(hashfloat8(value)::bigint) from core.sample").fetchone()
    assert row is not None
    return row


def test_history_is_seeded_once_with_its_truth_and_only_where_it_is_marked(
    environment: dict[str, str], database: SecretStr, store: Store
) -> None:
    done = demo(environment, "--tenant", "showcase", "--days", "8", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows"] >= 8 * 1440 * 36
    assert len(report["planted"]) == 8
    span = store.samples.span("showcase")
    assert span is not None
    assert store.samples.hosts("showcase", span) == ["synthetic-db-1", "synthetic-web-1"]
    assert len(store.planted.read("showcase", span)) == 8
    before = checksum(database)
    assert before[0] == report["rows"]

    again = demo(environment, "--days", "8")
    assert again.returncode == 0, again.stderr
    assert "seeded already" in again.stdout
    assert checksum(database) == before

    refused = demo(environment, "--tenant", "acme")
    assert refused.returncode == 1
    assert "not synthetic" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert checksum(database) == before

    (first, *_) = store.planted.read("showcase", span)
    part = Contribution(first.signals[0], 0.9, 0.1, 0.3, 9.0)
    times = (first.started_at + timedelta(minutes=2), first.ended_at, first.ended_at)
    told = Incident(None, "showcase", first.host, *times, Severity.WARNING, 0.97, "high", (part,), "1", "batch")
    strange = replace(told, opened_at=span.start, updated_at=span.start, resolved_at=span.start)
    store.incidents.replace_batch("showcase", span, [told, strange])
    compared = json.loads(demo(environment, "--json", command="compare").stdout)
    assert [row["found"] for row in compared["planted"]] == [True] + [False] * 7
    assert compared["planted"][0]["minutes_after_start"] == 2
    assert compared["planted"][0]["named"]
    assert len(compared["unexplained"]) == 1
    assert "1 of 8 found; 1 other" in demo(environment, command="compare").stdout

    forced = demo(environment, "--days", "8", "--force", "--json")
    assert json.loads(forced.stdout)["rows"] >= report["rows"]
    assert checksum(database)[0] == json.loads(forced.stdout)["rows"]
