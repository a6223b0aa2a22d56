"""The scorer as a process: signals, a second one, a database that is away."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.tenants import Tenant
from tests.support.environment import clean_environment
from tests.support.hosts import DeliveringHost
from tests.support.patience import patient
from tests.support.postgres import PASSWORD, free_port
from tests.support.project import Project
from tests.support.waiting import wait_until

MOST_SECONDS_TO_END = patient(2.0)
"""Two on an idle machine; ``docker stop`` gives a process ten before it kills it, our supervisor twenty."""

ACME = "id: acme\nname: Acme\nalerts: [{kind: log, name: log}]\n"
COMMAND = (sys.executable, "-m", "collectors_dagster.cli", "scorer")


class ScorerProcess:
    """One scorer with a home of its own."""

    def __init__(self, home: Path, config: Path, database: SecretStr, **environment: str) -> None:
        server, _, name = database.get_secret_value().rpartition("/")
        self.file = home / "run" / "scorer.json"
        self.log = home / "log"
        home.mkdir(parents=True)
        self.environment = clean_environment(
            COLLECTORS_HOME=str(home),
            COLLECTORS_CONFIG_DIR=str(config),
            COLLECTORS__SCORER__TICK_SECONDS="1",
            COLLECTORS__MLFLOW__TRACKING_URI=f"http://127.0.0.1:{free_port()}",
            POSTGRES_HOST="127.0.0.1",
            POSTGRES_PORT=server.rpartition(":")[2],
            POSTGRES_DB=name,
            POSTGRES_USER="collectors",
            POSTGRES_PASSWORD=PASSWORD,
            **environment,
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (*COMMAND, "run"), env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_bytes()) if self.file.exists() else {}
        return found

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        wait_until(lambda: condition(self.status()), 40, f"{what}: {self.status()}")

    def stop(self) -> float:
        """Send SIGTERM; return the seconds until the process is gone."""
        started = monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        return monotonic() - started

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(120)


Starter = Callable[..., ScorerProcess]


@pytest.fixture
def start(tmp_path: Path, database: SecretStr) -> Iterator[Starter]:
    """Yield what starts scorers; whatever is left running is killed."""
    project = Project(tmp_path)
    project.write("config/tenants/acme.yml", ACME)
    with ExitStack() as cleaning:

        def started(name: str, of: SecretStr = database, **environment: str) -> ScorerProcess:
            scorer = ScorerProcess(tmp_path / name, tmp_path / "config", of, **environment)
            cleaning.callback(scorer.kill)
            return scorer

        yield started


def deliver_minutes(delivery_store: DeliveryStore, loaded_seconds: int) -> None:
    """Deliver the last three minutes of a host, as an agent that was away does; the end of them is loaded."""
    host = DeliveringHost(delivery_store, "acme")
    now = datetime.now(UTC).replace(microsecond=0)
    for before in range(180, -1, -10):
        host.deliver(now - timedelta(seconds=before), 0.99 if before < loaded_seconds else 0.05)


def is_running(status: dict[str, Any]) -> bool:
    return status.get("state") == "running" and status["ticks"] > 0


def test_incident_opens_without_any_model_server_and_sigterm_ends_it_quickly(
    start: Starter, store: Store, delivery_store: DeliveryStore
) -> None:
    store.tenants.sync([Tenant("acme", "Acme")])
    port = free_port()
    scorer = start("one", COLLECTORS__PORTS__METRICS=str(port))
    scorer.wait_for("running", is_running)
    deliver_minutes(delivery_store, loaded_seconds=70)
    wait_until(lambda: bool(store.incidents.open("acme")), 20, "an incident")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        [line] = [one for one in answer.read().decode().splitlines() if one.startswith("ml_anomaly_score{")]
    assert line.startswith('ml_anomaly_score{tenant="acme"} 0.9')
    scorer.wait_for("said so", lambda status: bool(status["tenants"]["acme"]["open_incidents"]))
    said = subprocess.run(
        (*COMMAND, "status", "--json"), env=scorer.environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(said.stdout)["tenants"]["acme"]["hosts"] == 1
    assert scorer.stop() < MOST_SECONDS_TO_END
    assert scorer.process.returncode == 0
    assert scorer.status()["state"] == "stopped"
    assert PASSWORD not in scorer.log.read_text()


def test_second_scorer_stands_by_and_takes_over_when_the_first_is_killed(
    start: Starter, store: Store, delivery_store: DeliveryStore
) -> None:
    store.tenants.sync([Tenant("acme", "Acme")])
    first = start("one")
    first.wait_for("running", is_running)
    second = start("two")
    second.wait_for("standing by", lambda status: status.get("state") == "standby")
    deliver_minutes(delivery_store, loaded_seconds=70)
    wait_until(lambda: bool(store.incidents.open("acme")), 20, "an incident")
    first.kill()
    second.wait_for("taking over", lambda status: bool(status["tenants"].get("acme", {}).get("open_incidents")))
    assert len(store.incidents.events_after(0, 10)) == 1


def test_scorers_divide_the_tenants_and_those_of_a_killed_one_are_scored_on(
    start: Starter, store: Store, tmp_path: Path, redis_url: str
) -> None:
    tenants = {f"tenant-{number}" for number in range(8)}
    project = Project(tmp_path)
    for tenant_id in tenants:
        project.write(f"config/tenants/{tenant_id}.yml", f"id: {tenant_id}\nname: Tenant\n")
    store.tenants.sync([Tenant("acme", "Acme"), *(Tenant(tenant_id, "Tenant") for tenant_id in tenants)])
    first, second = (start(name, COLLECTORS__REDIS__URL=redis_url) for name in ("one", "two"))
    for scorer in (first, second):
        scorer.wait_for("having some", lambda status: 0 < len(status.get("tenants", ())) < len(tenants) + 1)
    first.kill()
    second.wait_for("having all", lambda status: set(status["tenants"]) == {"acme", *tenants})


def test_without_a_database_it_waits_says_so_and_still_ends_quickly(start: Starter) -> None:
    absent = SecretStr(f"postgresql://collectors:{PASSWORD}@127.0.0.1:{free_port()}/none")
    scorer = start("lonely", absent)
    scorer.wait_for("waiting", lambda status: status.get("state") == "waiting")
    assert scorer.status()["problems"][""]
    assert scorer.stop() < MOST_SECONDS_TO_END
    assert PASSWORD not in scorer.log.read_text()


def test_database_that_accepts_and_never_answers_does_not_keep_it_from_ending(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        scorer = start("patient", SecretStr(f"postgresql://collectors:{PASSWORD}@127.0.0.1:{port}/none"))
        silent.settimeout(40)
        connection, _ = silent.accept()
        with connection:
            assert scorer.stop() < MOST_SECONDS_TO_END


def test_status_of_a_home_without_a_scorer_is_one_line_and_an_error(tmp_path: Path) -> None:
    Project(tmp_path).write("config/tenants/acme.yml", ACME)
    environment = clean_environment(
        COLLECTORS_HOME=str(tmp_path / "home"), COLLECTORS_CONFIG_DIR=str(tmp_path / "config")
    )
    said = subprocess.run(
        (*COMMAND, "status"), env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "collectors scorer run" in said.stderr
