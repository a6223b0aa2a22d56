"""The real web server, daemon, code and PostgreSQL together: a run launched over the network, as people do it.

This guards what a test inside one process cannot see: the driver of Dagster's storage (SQLAlchemy 2.1 takes another
one for a plain URL, and the first event of the first run then fails), the fields of Dagster's GraphQL that we use,
and that a run's own process finds the same settings.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.errors import CollectorsError, RequestRejectedError, ServiceUnreachableError
from collectors_dagster.integrations.orchestrator.api import Launch, Orchestrator, RunStatus
from collectors_dagster.integrations.timescale import Store
from tests.orchestration.conftest import write_minutes
from tests.support.environment import clean_environment
from tests.support.postgres import PASSWORD, PostgresServer, free_port
from tests.support.waiting import wait_until

FRONT = ("collection_run", "metrics_hourly", "metrics_daily", "feature_table")
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@dataclass(frozen=True)
class Running:
    """A web server and a daemon."""

    url: str
    store: Store


@pytest.fixture
def running(postgres: PostgresServer, tmp_path: Path) -> Iterator[Running]:
    """Start both on databases of their own, and stop exactly them."""
    names = {"collectors": f"data_{tmp_path.name}", "dagster": f"dagster_{tmp_path.name}"}
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
        log = stack.enter_context((tmp_path / "log").open("wb"))
        started: list[subprocess.Popen[bytes]] = []
        stack.callback(_stop, started)

        def start(*words: str) -> None:
            command = [sys.executable, "-m", *words]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

        url = f"http://127.0.0.1:{web}"
        start("dagster", "api", "grpc", *module, "--host", "127.0.0.1", "--port", str(code))
        start("dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(web))
        wait_until(lambda: _answers(url), seconds=120, what="the web server")  # it makes Dagster's tables
        start("dagster._daemon", "run", "-w", str(workspace))
        yield Running(url, store)


def _stop(started: list[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(20)
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


def test_an_absent_web_server_is_told_with_its_remedy() -> None:
    with (
        Orchestrator(f"http://127.0.0.1:{free_port()}") as dagster,
        pytest.raises(ServiceUnreachableError, match="collectors status"),
    ):
        dagster.partitions("anomaly_model")
