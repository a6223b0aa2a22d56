"""The agent as a process: killed, cut off, reconfigured, and none of it loses or doubles a sample."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.reader import Observation
from collectors_dagster.samples import Labels
from tests.support.agents import AgentHome, agent_home
from tests.support.postgres import PostgresServer, free_port
from tests.support.spools import read_spool
from tests.support.waiting import wait_until

SEED = 20261122
KILLS = 5

Samples = dict[tuple[str, Labels, datetime], float]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentHome]:
    with agent_home(tmp_path) as home:
        yield home


class Tables:
    """What the database holds."""

    def __init__(self, conninfo: SecretStr) -> None:
        self._conninfo = conninfo.get_secret_value()

    def query(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._conninfo) as connection:
            return connection.execute(text.encode(), parameters).fetchall()

    def samples(self, tenant: str) -> Samples:
        """Return every stored value by metric, labels and end of the interval."""
        rows = self.query(
            "select s.metric, s.labels, x.ts, x.value from core.sample x join core.series s using (series_id)"
            " join core.tenant t on t.tenant_key = s.tenant_key where t.tenant_id = %s",
            tenant,
        )
        return {(metric, tuple(sorted(labels.items())), ts): value for metric, labels, ts, value in rows}

    def intervals(self, tenant: str) -> int:
        rows = self.query(
            "select count(distinct ts) from core.sample join core.tenant using (tenant_key) where tenant_id = %s",
            tenant,
        )
        return int(rows[0][0])

    def duplicates(self) -> int:
        return int(self.query("select coalesce(sum(duplicates), 0)::int from core.delivery")[0][0])


def spooled(agent: AgentHome) -> list[Observation]:
    (epoch,) = [path for path in (agent.home / "agent" / "spool").iterdir() if path.is_dir()]
    return read_spool(epoch)


def last_number(agent: AgentHome) -> int:
    return max((seen.seq for seen in spooled(agent)), default=0)


def due_samples(agent: AgentHome) -> Samples:
    """Return the samples of the whole spool, read in one go: what any history of kills must lead to."""
    intervals = Intervals("any", ["load", "cpu"], resolution_seconds=1, sample_interval_seconds=0.1)
    closed = [intervals.add(seen) for seen in spooled(agent)]
    return {
        (sample.series.metric, sample.series.labels, sample.ts): sample.value
        for each in closed
        if each is not None
        for sample in each.samples
    }


def check_complete(agent: AgentHome, tables: Tables, *, tenant: str = "aurora") -> None:
    """Check that all of the spool but at most its last interval is stored, value by value, and nothing twice."""
    stored, due = tables.samples(tenant), due_samples(agent)
    assert stored == {key: value for key, value in due.items() if key in stored}
    missing = {ts for _, _, ts in set(due) - set(stored)}
    assert missing <= {max(ts for _, _, ts in due)}
    assert tables.duplicates() == 0


def test_killed_at_random_moments_it_loses_nothing_and_doubles_nothing(agent: AgentHome, database: SecretStr) -> None:
    tables, moments = Tables(database), random.Random(SEED)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    for _ in range(KILLS):
        agent.start()
        enough = int(agent.status()["spool"]["next_seq"]) + moments.randrange(5, 40)
        wait_until(partial(reaches, agent, enough), seconds=30, what="sampling")
        acknowledged = last_number(agent)
        assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
        assert last_number(agent) >= acknowledged
    agent.start()
    done = tables.intervals("aurora") + 3
    wait_until(lambda: tables.intervals("aurora") >= done, seconds=30, what="delivery after the last kill")
    assert agent.stop() == 0
    check_complete(agent, tables)
    numbers = [seen.seq for seen in spooled(agent)]
    assert numbers == sorted(set(numbers))


def reaches(agent: AgentHome, number: int) -> bool:
    return last_number(agent) >= number


def test_with_the_database_away_it_keeps_everything_and_delivers_later(agent: AgentHome, database: SecretStr) -> None:
    tables = Tables(database)
    agent.write_tenant("aurora")
    agent.deliver_to(database, port=free_port())
    agent.start()
    wait_until(lambda: (agent.status()["delivery"]["last_error"] or "") != "", seconds=30, what="a failure")
    wait_until(lambda: agent.status()["sampling"]["sweeps"] >= 60, seconds=30, what="sampling without a database")
    assert "only-for-tests" not in agent.log
    assert agent.stop() == 0
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 6, seconds=30, what="the backlog")
    assert agent.stop() == 0
    check_complete(agent, tables)


def test_it_survives_a_database_that_stops_and_comes_back(
    agent: AgentHome, database: SecretStr, postgres: PostgresServer
) -> None:
    tables = Tables(database)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 2, seconds=30)
    name = database.get_secret_value().rsplit("/", 1)[1]
    postgres.execute("alter database {} with allow_connections false", name)
    postgres.execute("revoke connect on database {} from public", name)
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
    wait_until(lambda: agent.status()["delivery"]["failures"] >= 1, seconds=30, what="a failure")
    postgres.execute("alter database {} with allow_connections true", name)
    behind = tables.intervals("aurora")
    wait_until(lambda: tables.intervals("aurora") >= behind + 5, seconds=40, what="delivery going on")
    assert agent.stop() == 0
    check_complete(agent, tables)


def test_tenants_are_followed_without_a_restart(agent: AgentHome, database: SecretStr) -> None:
    tables = Tables(database)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 2, seconds=30)
    agent.write_tenant("borealis", collectors="[memory]")
    changed = monotonic()
    wait_until(lambda: tables.intervals("borealis") >= 1, seconds=15, what="the new tenant's samples")
    assert monotonic() - changed < 10
    assert {metric.split("_")[0] for metric, _, _ in tables.samples("borealis")} <= {"memory", "swap", "page", "oom"}
    (agent.root / "config" / "tenants" / "borealis.yml").write_text("id: borealis\nsources: [")
    wait_until(lambda: bool(agent.status()["tenant_problems"]), seconds=15, what="the problem in the status")
    seen = tables.intervals("borealis")
    wait_until(lambda: tables.intervals("borealis") > seen, seconds=15, what="the last good version being served")
    assert agent.stop() == 0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[None]:
    """Run a program of each of two tenants, under names of their own."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    running = []
    for name in ("shop-job", "bank-job"):
        shutil.copy(sleep, tmp_path / name)
        running.append(subprocess.Popen([tmp_path / name, "600"]))
    yield
    for process in running:
        process.kill()
        process.wait()


def observe(agent: AgentHome, tenant_id: str, *executables: str, more: str = "") -> None:
    """Write the file of a tenant that observes nothing but these programs."""
    selectors = ", ".join(f"{{executable: {name}}}" for name in executables)
    source = f"{{collection_interval: 1, scope: {{processes: [{selectors}]}}{more}}}"
    path = agent.root / "config" / "tenants" / f"{tenant_id}.yml"
    path.write_text(f"id: {tenant_id}\nname: {tenant_id}\nsources: {{system_performance: {source}}}\n")


def observed(tables: Tables, tenant: str) -> set[str]:
    """Return the programs of which a tenant has samples; a sample of anything else is an error."""
    return {dict(labels)["executable"] for _, labels, _ in tables.samples(tenant)}


SHARES = {"shop": (28, 0), "bank": (4, 10), "idle": (0, 0)}


def shares(agent: AgentHome) -> dict[str, tuple[int, int]]:
    """Return series and refused series per tenant, as the status tells."""
    tenants = agent.status()["delivery"]["tenants"]
    return {name: (lane["series"], lane["refused_series"]) for name, lane in tenants.items()}


@pytest.mark.usefixtures("jobs")
def test_a_tenant_gets_its_part_of_the_host_and_follows_a_change_of_it_without_a_restart(
    agent: AgentHome, database: SecretStr
) -> None:
    tables = Tables(database)
    observe(agent, "shop", "shop-job")
    observe(agent, "bank", "bank-job", more=", max_series: 4")
    observe(agent, "idle", "job-of-nobody")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: all(observed(tables, each) for each in ("shop", "bank")), seconds=40, what="both's samples")
    observe(agent, "shop", "shop-job", "sleep-of-nobody", "bank-*")
    wait_until(lambda: "bank-job" in observed(tables, "shop"), seconds=40, what="the wider scope")
    assert observed(tables, "shop") == {"shop-job", "bank-job"}
    assert observed(tables, "bank") == {"bank-job"}
    assert not tables.samples("idle")
    wait_until(lambda: shares(agent) == SHARES, seconds=20, what="the shares in the status")
    assert "bank: 4 series (10 refused" in agent.command("status").stdout
    assert agent.log.count("series refused") == 1
    assert agent.status()["delivery"]["refused"] == {}
    assert agent.status()["delivery"]["last_error"] is None
    assert agent.stop() == 0


def test_it_stops_within_two_seconds_and_leaves_an_orderly_spool(agent: AgentHome, database: SecretStr) -> None:
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.environment["COLLECTORS__AGENT__SAMPLE_INTERVAL_SECONDS"] = "60"
    agent.start()
    asked = monotonic()
    assert agent.stop() == 0
    assert monotonic() - asked < 2
    assert agent.status()["state"] == "stopped"


def test_it_stops_within_two_seconds_while_the_database_is_away(agent: AgentHome, database: SecretStr) -> None:
    agent.write_tenant("aurora")
    agent.deliver_to(database, port=free_port())
    agent.start()
    wait_until(lambda: agent.status()["sampling"]["sweeps"] > 5, seconds=20)
    asked = monotonic()
    assert agent.stop() == 0
    assert monotonic() - asked < 2
    segments = sorted(path.suffix for path in (agent.home / "agent" / "spool").rglob("*.seg*"))
    assert set(segments) == {".segz"}


def test_a_second_agent_on_the_same_home_is_refused_with_a_reason(agent: AgentHome, database: SecretStr) -> None:
    agent.deliver_to(database)
    agent.start()
    assert agent.process is not None
    second = agent.command("run")
    assert second.returncode == 1
    assert f"in use by the agent with process id {agent.process.pid}" in second.stderr
    assert agent.stop() == 0


def test_status_tells_people_and_programs(agent: AgentHome, database: SecretStr) -> None:
    assert "no agent has run here" in agent.command("status").stderr
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: agent.status()["delivery"]["tenants"].get("aurora", {}).get("rows", 0) > 0, seconds=30)
    told = json.loads(agent.command("status", "--json").stdout)
    assert told["state"] == "running"
    assert told["sampling"]["collectors"]["cpu"]["errors"] == {}
    assert told["delivery"]["lag_seconds"] < 10
    shown = agent.command("status").stdout
    assert "running" in shown
    assert "aurora" in shown
    rows = Tables(database).query("select state from core.agent")
    assert rows[0][0]["agent_id"] == told["agent_id"]
    agent.stop(signal.SIGKILL)
    wait_until(lambda: agent.command("status").returncode == 1, seconds=30, what="a silent agent being told")


def test_the_agent_imports_neither_dagster_nor_numbers() -> None:
    program = (
        "import sys, collectors_dagster.cli.agent, collectors_dagster.agent.process\n"
        "import collectors_dagster.monitoring.logging\n"
        "heavy = ['dagster', 'numpy', 'pandas', 'sklearn', 'mlflow', 'sqlalchemy', 'matplotlib']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_debug_switches_are_followed_without_a_restart(agent: AgentHome, database: SecretStr) -> None:
    agent.deliver_to(database)
    agent.start()
    assert "debug metrics" not in agent.log
    (agent.root / "config" / "development.yml").write_text("debug: {components: {agent: {metrics: true}}}\n")
    wait_until(lambda: "debug metrics" in agent.log, seconds=15, what="the debug metrics")
    assert "sweep_seconds" in agent.log
    assert agent.stop() == 0


def test_a_home_that_cannot_be_written_is_told_in_one_line(agent: AgentHome) -> None:
    agent.home.write_text("a file where a directory is needed")
    refused = agent.command("run")
    assert refused.returncode == 1
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("collectors: the spool")
    assert "COLLECTORS_HOME" in last
