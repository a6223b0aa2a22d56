"""The real web server, daemon, code and PostgreSQL together: a run launched over the network, as people do it.

This guards what a test inside one process cannot see: the driver of Dagster's storage (SQLAlchemy 2.1 takes another
one for a plain URL, and the first event of the first run then fails), the fields of Dagster's GraphQL that we use,
and that a run's own process finds the same settings.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.errors import CollectorsError, RequestRejectedError, ServiceUnreachableError
from collectors_dagster.integrations.orchestrator.api import Launch, Orchestrator, RunStatus
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.supervisor.intake import Intake
from sensors.tenants import LOOKING_SECONDS
from tests.orchestration.conftest import write_minutes
from tests.support.environment import clean_environment
from tests.support.postgres import PASSWORD, PostgresServer, free_port
from tests.support.waiting import wait_until

FRONT = ("collection_run", "metrics_hourly", "metrics_daily", "feature_table")
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@dataclass(frozen=True)
class Running:
    """A web server and a daemon, with the code server that both ask.

    Attributes
    ----------
    output : what the code server and the runs that it starts print
    """

    url: str
    store: Store
    config: Path
    home: Path
    output: Path

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Ask as the pages in the browser do."""
        reply = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in reply, reply["errors"]
        found: dict[str, Any] = reply["data"]
        return found

    def logged(self) -> list[dict[str, Any]]:
        """Take what was printed into a log, as the supervisor does, and return its lines."""
        log = self.output.with_suffix(".log")
        Intake("code-server", self.output, log, SystemClock(), lambda line: line).take()
        return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def running(
    servers: Callable[[Edition], PostgresServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Start both on databases of their own, and stop exactly them."""
    postgres, tmp_path = servers(Edition.PLAIN), tmp_path_factory.mktemp("daemon")
    names = {"collectors": f"data_{uuid4().hex[:12]}", "dagster": f"dagster_{uuid4().hex[:12]}"}
    postgres.create_database(names["collectors"], "collectors_template")
    postgres.create_database(names["dagster"])
    config = tmp_path / "config"
    shutil.copytree(PROJECT_ROOT / "config", config, ignore=shutil.ignore_patterns("tenants"))
    (config / "tenants").mkdir()
    for tenant in ("acme", "borealis"):
        (config / "tenants" / f"{tenant}.yml").write_text(f"id: {tenant}\nname: {tenant}\nalerts: []\n")
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster.yaml", home)
    environment = clean_environment(
        PYTHONPATH=str(PROJECT_ROOT),
        DAGSTER_HOME=str(home),
        DAGSTER_PG_HOST="127.0.0.1",
        DAGSTER_PG_PORT=str(postgres.port),
        DAGSTER_PG_USER="collectors",
        DAGSTER_PG_PASSWORD=PASSWORD,
        DAGSTER_PG_DB=names["dagster"],
        DAGSTER_EVENT_BATCH_SIZE="200",
        COLLECTORS_HOME=str(tmp_path / "home"),
        COLLECTORS_CONFIG_DIR=str(config),
        COLLECTORS__POSTGRES__HOST="127.0.0.1",
        COLLECTORS__POSTGRES__PORT=str(postgres.port),
        COLLECTORS__POSTGRES__DB=names["collectors"],
        COLLECTORS__POSTGRES__DAGSTER_DB=names["dagster"],
        COLLECTORS__POSTGRES__USER="collectors",
        COLLECTORS__POSTGRES__PASSWORD=PASSWORD,
    )
    code, web = free_port(), free_port()
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(
        f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {code}, location_name: collectors_dagster}}}}]"
    )
    module = ("--module-name", "collectors_dagster.definitions", "--location-name", "collectors_dagster")
    with ExitStack() as stack:
        stack.callback(postgres.drop_database, names["dagster"])
        store = stack.enter_context(Store(postgres.conninfo(names["collectors"]), application_name="tests"))
        started: list[subprocess.Popen[bytes]] = []
        stack.callback(_stop, started)

        def start(output: Path, *words: str) -> None:
            command = [sys.executable, "-m", *words]
            log = stack.enter_context(output.open("ab"))
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

        url = f"http://127.0.0.1:{web}"
        output, others = tmp_path / "code-server.out", tmp_path / "others.out"
        start(output, "dagster", "api", "grpc", *module, "--host", "127.0.0.1", "--port", str(code))
        start(others, "dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(web))
        wait_until(lambda: _answers(url), seconds=120, what="the web server")  # it makes Dagster's tables
        start(others, "dagster._daemon", "run", "-w", str(workspace))
        yield Running(url, store, config, tmp_path / "home", output)


def _stop(started: list[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        with Orchestrator(url) as dagster:
            return dagster.partitions("anomaly_model") is not None
    except CollectorsError:
        return False


def test_a_run_over_the_network_stores_what_it_says(running: Running) -> None:
    with Orchestrator(running.url) as dagster:
        # The tenant sensor of the daemon does this by itself.
        wait_until(lambda: dagster.partitions("anomaly_model") == ["acme", "borealis"], seconds=60)
        assert sorted(running.store.tenants.ids()) == ["acme", "borealis"]
        write_minutes(running.store, "acme", end_minute=1, day=TODAY)
        launch = Launch("tenant_day", FRONT, f"acme|{TODAY}", f"borealis|{TODAY}", {"collectors/by": "test"})
        run_id = dagster.launch(launch)
        wait_until(lambda: dagster.run(run_id).status.is_over, seconds=120)
        state = dagster.run(run_id)
        assert state.status is RunStatus.DONE, dagster.why_failed(run_id)
        assert state.materialized == 8

        dagster.add_partition("stranger")  # a partition nobody configured: its part of the run must fail
        run_id = dagster.launch(Launch("tenant_day", FRONT, f"acme|{TODAY}", f"stranger|{TODAY}", {}))
        wait_until(lambda: dagster.run(run_id).status.is_over, seconds=120)
        assert dagster.run(run_id).status is RunStatus.FAILED
        assert dagster.run(run_id).materialized == 8
        assert "1 of 3 failed, the others are stored" in dagster.why_failed(run_id)
        wait_until(lambda: "stranger" not in dagster.partitions("anomaly_model"), seconds=60)

        with pytest.raises(RequestRejectedError, match="cannot launch a run"):
            dagster.launch(Launch("no_such_job", (), "acme", "acme", {}))


def wait_for_tenants(running: Running, *tenants: str) -> None:
    with Orchestrator(running.url) as dagster:
        wait_until(lambda: dagster.partitions("anomaly_model") == [*tenants], seconds=60)


SWITCHES = "debug: {components: {runs: {metrics: true, profile: true, memory: true}}}\n"


def test_a_run_logs_json_with_its_tenant_and_can_be_looked_into(running: Running) -> None:
    wait_for_tenants(running, "acme", "borealis")
    (running.config / "development.yml").write_text(SWITCHES)
    with Orchestrator(running.url) as dagster:
        dagster.add_partition("stranger")
        run_id = dagster.launch(Launch("tenant_day", FRONT, f"acme|{TODAY}", f"stranger|{TODAY}", {}))
        wait_until(lambda: dagster.run(run_id).status.is_over, seconds=120)
    ended = 'Execution of run for "tenant_day" failed'
    wait_until(lambda: ended in str(running.logged()), seconds=20, what="the run's last line")
    lines = running.logged()
    assert {line["component"] for line in lines} == {"code-server", "run"}
    of_run = [line for line in lines if line.get("run") == run_id]
    assert all(line["component"] == "run" for line in of_run)
    assert {line["tenant"] for line in of_run if "tenant" in line} == {"acme", "borealis", "stranger"}
    failed = next(line for line in of_run if line["event"] == "stage failed")
    assert (failed["tenant"], failed["level"]) == ("stranger", "error")
    assert "there is no tenant" in failed["exception"]
    assert not [line for line in lines if line.get("raw") and "Traceback" in line["event"]]
    assert [line for line in of_run if line["event"] == "debug metrics" and line["rss_bytes"] > 0]
    profile, memory = (
        next((running.home / "debug").glob(f"runs-{kind}-*-{run_id[:8]}.txt")).read_text()
        for kind in ("profile", "memory")
    )
    assert "seal_collection" in profile
    assert int(memory.split()[0]) > 0


TICKS = """
query Ticks($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor {
      minIntervalSeconds
      sensorState { ticks(limit: 50) { timestamp status dynamicPartitionsRequestResults { partitionKeys } } }
    }
  }
}
"""
IN_OUR_CODE = {"repositoryLocationName": "collectors_dagster", "repositoryName": "__repository__"}


def test_the_first_look_after_a_tenants_file_was_written_adds_its_partition(running: Running) -> None:
    """The daemon looks every five seconds, for half of them: the promised five are kept if each look suffices."""
    wait_for_tenants(running, "acme", "borealis")
    assert LOOKING_SECONDS >= 2
    for number in range(4):
        tenant = f"tenant-{number}"
        new = running.config / "tenants" / f".{tenant}.new"
        new.write_text(f"id: {tenant}\nname: {tenant}\nalerts: []\n")
        new.rename(new.with_name(f"{tenant}.yml"))
        written = time.time()
        wait_for_tenants(running, "acme", "borealis", *(f"tenant-{earlier}" for earlier in range(number + 1)))
        sensor = running.ask(TICKS, selector=IN_OUR_CODE | {"sensorName": "tenants"})["sensorOrError"]
        assert sensor["minIntervalSeconds"] <= 4
        later = [tick for tick in sensor["sensorState"]["ticks"] if tick["timestamp"] > written]
        added = [tick["timestamp"] for tick in later if tick["dynamicPartitionsRequestResults"]]
        assert added in (
            [],
            [min((tick["timestamp"] for tick in later), default=0)],
        )  # none: the look under way saw it already
    for number in range(4):
        (running.config / "tenants" / f"tenant-{number}.yml").unlink()
    wait_for_tenants(running, "acme", "borealis")


BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}
"""
PROGRESS = """
query Progress($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } runs(limit: 10) { status assetMaterializations { partition } } }
  }
}
"""


def test_a_backfill_of_days_of_one_tenant_is_one_run_and_touches_nobody_else(running: Running) -> None:
    wait_for_tenants(running, "acme", "borealis")
    days = [f"{datetime.now(UTC) - timedelta(days=back):%Y-%m-%d}" for back in (2, 1, 0)]
    for day in days:
        write_minutes(running.store, "acme", end_minute=1, day=day)
    asked = {
        "assetSelection": [{"path": [name]} for name in FRONT],
        "partitionNames": [f"acme|{day}" for day in days],
    }
    launched = running.ask(BACKFILL, params=asked)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def progress() -> dict[str, Any]:
        found: dict[str, Any] = running.ask(PROGRESS, id=launched["backfillId"])["partitionBackfillOrError"]
        return found

    wait_until(lambda: progress()["status"] != "REQUESTED", seconds=180, what="the end of the backfill")
    ended = progress()
    assert ended["status"] == "COMPLETED_SUCCESS", ended
    (run,) = ended["runs"]
    assert run["status"] == "SUCCESS"
    stored = [each["partition"] for each in run["assetMaterializations"]]
    assert sorted(stored) == sorted(f"acme|{day}" for day in days for _ in FRONT)


def test_an_absent_web_server_is_told_with_its_remedy() -> None:
    with (
        Orchestrator(f"http://127.0.0.1:{free_port()}") as dagster,
        pytest.raises(ServiceUnreachableError, match="collectors status"),
    ):
        dagster.partitions("anomaly_model")
