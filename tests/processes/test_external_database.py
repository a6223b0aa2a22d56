"""The whole platform on somebody else's TimescaleDB, over TLS: up, the pipeline, the doctor, compression, down."""

import json
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.environment import clean_environment
from tests.support.postgres import PASSWORD, PostgresServer, free_port, running_postgres
from tests.support.tls import Authority, edition_with_tls, serve_tls
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timescaledb, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
OURS = ("supervisor", "redis", "migrations", "mlflow", "code-server", "webserver", "daemon", "agent", "scorer")
FIRST_DAY = (
    ("up", "--no-demo", "--no-pipeline"),
    ("demo", "seed", "--tenant", "showcase", "--days", "9"),
    ("run", "pipeline", "--wait"),
)
"""What `up` does, with fewer days."""
LAUNCH = """mutation {launchRun(executionParams: {selector: {
    repositoryLocationName: "collectors_dagster", repositoryName: "__repository__", jobName: "chunk_compression"
}}) {__typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
PORTS = ("REDIS", "CODE_SERVER", "WEBSERVER", "MLFLOW", "AGENT", "METRICS", "SPOTIFY_SANDBOX")


@dataclass(frozen=True)
class Platform:
    """A platform that runs on an external database."""

    server: PostgresServer
    environment: dict[str, str]
    done: tuple[subprocess.CompletedProcess[str], ...]

    def collectors(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours."""
        return collectors(self.environment, *words)

    def graphql(self, query: str) -> dict[str, Any]:
        """Ask the Dagster webserver."""
        url = f"http://127.0.0.1:{self.environment['COLLECTORS__PORTS__WEBSERVER']}/graphql"
        reply: dict[str, Any] = httpx.post(url, json={"query": query}, timeout=30).json()
        assert "errors" not in reply, reply
        found: dict[str, Any] = reply["data"]
        return found

    def rows(self, statement: str, database: str = "collectors") -> list[tuple[object, ...]]:
        """Return what a statement finds."""
        with psycopg.connect(self.server.conninfo(database, "postgres").get_secret_value()) as connection:
            return connection.execute(statement.encode()).fetchall()


def collectors(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collectors_dagster.cli", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Yield the platform as `collectors up` leaves it, on a TimescaleDB that demands TLS."""
    edition = edition_with_tls(Edition.FULL)
    base = tmp_path_factory.mktemp("external")
    shutil.copytree(ROOT / "config", base / "config")
    authority = Authority(base)
    with running_postgres(edition) as server:
        for name in ("collectors", "dagster", "mlflow"):
            server.create_database(name)
        serve_tls(server, authority.certificate("127.0.0.1"))
        environment = clean_environment(
            COLLECTORS_HOME=str(base / "home"),
            COLLECTORS_CONFIG_DIR=str(base / "config"),
            POSTGRES_HOST="127.0.0.1",
            POSTGRES_PORT=str(server.port),
            POSTGRES_PASSWORD=PASSWORD,
            COLLECTORS__SPOTIFY__TOKEN_KEYS=b64encode(bytes(32)).decode(),  # a machine's own key does for no other
            COLLECTORS__POSTGRES__SSLMODE="verify-full",
            COLLECTORS__POSTGRES__SSLROOTCERT=str(authority.file),
            **{f"COLLECTORS__PORTS__{name}": str(free_port()) for name in PORTS},
        )
        try:
            yield Platform(server, environment, tuple(collectors(environment, *words) for words in FIRST_DAY))
        finally:
            collectors(environment, "down")


def test_everything_comes_up_and_the_pipeline_runs(platform: Platform) -> None:
    for done in platform.done:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(platform.collectors("status", "--json").stdout)["components"]
    states = {each["name"]: each["state"] for each in told}
    assert states.pop("postgres") == "external"
    assert set(states) == set(OURS)
    assert set(states.values()) <= {"ready", "done"}


def test_the_schema_is_the_full_edition_s(platform: Platform) -> None:
    told = json.loads(platform.collectors("db", "status", "--json").stdout)
    assert (told["edition"], told["pending"]) == ("full", [])
    (found,) = platform.rows("select count(distinct tenant_key), min(n) > 0 from core.sample_1h")
    assert found == (3, True)


def test_the_doctor_finds_only_what_the_tests_server_does_for_speed(platform: Platform) -> None:
    done = platform.collectors("db", "doctor", "--json")
    findings = {one["check"]: one for one in json.loads(done.stdout)}
    assert {name for name, one in findings.items() if one["state"] == "failure"} == {
        *("fsync", "full_page_writes", "synchronous_commit"),
    }
    assert findings["encryption"]["found"] == "TLSv1.3"


def test_chunks_of_the_first_days_are_compressed_by_the_asset(platform: Platform) -> None:
    (launched,) = platform.graphql(LAUNCH).values()
    assert launched["__typename"] == "LaunchRunSuccess", launched
    asked = f'{{runOrError(runId: "{launched["run"]["runId"]}") {{... on Run {{status}}}}}}'
    wait_until(
        lambda: platform.graphql(asked)["runOrError"]["status"] in {"SUCCESS", "FAILURE"}, seconds=90, what="its end"
    )
    assert platform.graphql(asked)["runOrError"]["status"] == "SUCCESS"
    ((compressed,),) = platform.rows(
        "select count(*)::integer from timescaledb_information.chunks "
        "where hypertable_name = 'sample' and is_compressed"
    )
    assert isinstance(compressed, int)
    assert compressed >= 2  # the others are not old enough, or were written to just now


def test_every_connection_is_encrypted_and_tells_whose_it_is(platform: Platform) -> None:
    seen = platform.rows(
        "select distinct a.application_name, s.version from pg_stat_activity a join pg_stat_ssl s using (pid) "
        "where a.usename = 'collectors'",
        database="postgres",
    )
    names = {name for name, _ in seen}
    assert {version for _, version in seen} == {"TLSv1.3"}
    assert {"collectors-agent", "collectors-scorer-claims", "dagster-daemon", "dagster-webserver", "mlflow"} <= names
    assert all(str(name).startswith(("collectors-", "dagster-", "mlflow")) for name in names), names
