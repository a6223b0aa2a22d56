"""The agent as a process: killed, cut off, reconfigured, and none of it loses or doubles a sample."""

import base64
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, LiteralString

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.identity import load_identity, spool_root
from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.packed import _blocks
from collectors_dagster.agent.positions import Positions
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.clock import ManualClock, SystemClock, nanoseconds
from collectors_dagster.collectors.runner import Column
from collectors_dagster.integrations.timescale import DeliveryStore
from collectors_dagster.patterns.compression import unpacked
from collectors_dagster.samples import Kind, Labels, Metric
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import Tenant
from tests.support.agents import AgentHome, agent_home
from tests.support.patience import patient
from tests.support.postgres import PostgresServer, free_port
from tests.support.spools import append_seconds, open_spool, read_spool, sweep
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

    def acked(self) -> int:
        rows = self.query("select coalesce(max(acked_seq), -1) from core.agent_cursor")
        return int(rows[0][0])

    def ahead(self) -> str:
        """Return what is delivered beyond the cursor, of the only spool."""
        rows = self.query("select ahead::text from core.agent_cursor")
        return str(rows[0][0]) if rows else "{}"

    def duplicates(self) -> int:
        return int(self.query("select coalesce(sum(duplicates), 0)::int from core.delivery")[0][0])


def spooled(agent: AgentHome) -> list[Observation]:
    (epoch,) = [path for path in (agent.home / "agent" / "spool").iterdir() if path.is_dir()]
    keys = agent.environment.get("COLLECTORS__AGENT__SPOOL_KEYS")
    return read_spool(epoch, sealer=Sealer([base64.b64decode(keys)]) if keys else None)


def last_number(agent: AgentHome) -> int:
    return max((seen.seq for seen in spooled(agent)), default=0)


def due_samples(agent: AgentHome, sample_interval_seconds: float = 0.1) -> Samples:
    """Return the samples of the whole spool, read in one go: what any history of kills must lead to."""
    intervals = Intervals("any", ["load", "cpu"], resolution_seconds=1, sample_interval_seconds=sample_interval_seconds)
    closed = [intervals.add(seen) for seen in spooled(agent)]
    return {
        (sample.series.metric, sample.series.labels, sample.ts): sample.value
        for each in closed
        if each is not None
        for sample in each.samples
    }


def check_complete(
    agent: AgentHome, tables: Tables, *, tenant: str = "aurora", sample_interval_seconds: float = 0.1
) -> None:
    """Check that all of the spool but at most its last interval is stored, value by value, and nothing twice."""
    stored, due = tables.samples(tenant), due_samples(agent, sample_interval_seconds)
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


def test_killed_while_it_catches_up_it_loses_nothing_and_doubles_nothing(agent: AgentHome, database: SecretStr) -> None:
    tables, moments = Tables(database), random.Random(SEED)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.environment["COLLECTORS__AGENT__SAMPLE_INTERVAL_SECONDS"] = "1"
    fill_spool(agent, hours=1)
    for kill in range(3):
        agent.start()
        enough = 700 * kill + moments.randrange(100, 700)
        wait_until(partial(acknowledges, tables, enough), seconds=60, what=f"record {enough} being delivered")
        if not kill:
            wait_until(lambda: tables.ahead() != "{}", seconds=30, what="fresh samples ahead of the backlog")
        assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    agent.start()
    wait_until(lambda: tables.ahead() == "{}" and tables.acked() > 3600, seconds=60, what="the backlog's end")
    done = tables.intervals("aurora") + 2
    wait_until(lambda: tables.intervals("aurora") >= done, seconds=30, what="fresh samples")
    assert agent.stop() == 0
    check_complete(agent, tables, sample_interval_seconds=1.0)


def fill_spool(agent: AgentHome, *, hours: int) -> None:
    """Leave an hour of sweeps that a tenant is due and no database has seen."""
    identity = load_identity(spool_root(agent.home))
    Positions(identity.directory).admit(["aurora"], 1, complete=True)
    clock = ManualClock(SystemClock().now() - timedelta(hours=hours, seconds=5))
    header = SegmentHeader(identity.agent_id, identity.epoch, "an-earlier-boot", identity.host)
    spool = open_spool(identity.directory, clock, header=header)
    gauges = tuple(Column("load", Metric(f"load_{n}", Kind.GAUGE, "processes", "")) for n in range(20))
    counters = tuple(Column("cpu", Metric(f"cpu_{n}_total", Kind.COUNTER, "seconds", "")) for n in range(20))
    for second in range(hours * 3600):
        values = [float(second % (n + 2)) for n in range(20)] + [float(second**2 + n) for n in range(20)]
        spool.append(sweep(*values, columns=gauges + counters), nanoseconds(clock.now()), second * 10**9)
        clock.sleep(1)
    spool.close()


def acknowledges(tables: Tables, number: int) -> bool:
    return tables.acked() >= number


def has_intervals(tables: Tables, number: int) -> bool:
    return tables.intervals("aurora") >= number


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


def test_after_a_restart_without_the_database_what_is_delivered_is_not_taken_for_a_backlog(
    agent: AgentHome, database: SecretStr
) -> None:
    tables = Tables(database)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    for run in (1, 2):
        agent.start()
        wait_until(partial(has_intervals, tables, 2 * run), seconds=30, what="delivery")
        assert agent.stop() == 0
    agent.deliver_to(database, port=free_port())
    agent.start()
    wait_until(lambda: (agent.status()["delivery"]["last_error"] or "") != "", seconds=30, what="a failure")
    wait_until(lambda: agent.status()["spool"]["undelivered_segments"] == 1, seconds=30, what="the count")
    assert agent.status()["spool"]["segments"] == 2
    assert agent.stop() == 0


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
    assert monotonic() - changed < patient(10)
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
    assert monotonic() - asked < patient(2)
    assert agent.status()["state"] == "stopped"


def test_it_stops_within_two_seconds_while_the_database_is_away(agent: AgentHome, database: SecretStr) -> None:
    agent.write_tenant("aurora")
    agent.deliver_to(database, port=free_port())
    agent.start()
    wait_until(lambda: agent.status()["sampling"]["sweeps"] > 5, seconds=20)
    asked = monotonic()
    assert agent.stop() == 0
    assert monotonic() - asked < patient(2)
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


def test_what_the_database_refuses_waits_sealed_in_quarantine_and_can_be_tried_again(
    agent: AgentHome, database: SecretStr
) -> None:
    tables = Tables(database)
    key = base64.b64encode(bytes(range(32))).decode()
    agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"] = key
    agent.write_tenant("aurora", collectors="[load]")
    agent.deliver_to(database)
    agent.start()
    assert agent.command("quarantine", "list").stdout == "Nothing is in quarantine.\n"
    wait_until(lambda: tables.intervals("aurora") >= 2, seconds=30)
    execute(
        database,
        "do $$ begin execute format('alter table core.sample add constraint no_load check (series_id <> %s) not valid',"
        " (select series_id from core.series where metric = 'load1')); end $$",
    )
    wait_until(lambda: agent.status()["delivery"]["quarantine"]["batches"] >= 2, seconds=30, what="the quarantine")
    assert re.search(r"quarantine \d+ refused batches", agent.command("status").stdout)
    listed = json.loads(agent.command("quarantine", "list", "--json").stdout)
    assert {row["tenant"] for row in listed} == {"aurora"}
    assert "no_load" in listed[0]["reason"]
    refused = agent.command("quarantine", "retry", listed[0]["name"])
    assert (refused.returncode, "no_load" in refused.stderr) == (1, True)
    folder = agent.home / "agent" / "quarantine"
    assert not any(b"aurora" in path.read_bytes() or b"load" in path.read_bytes() for path in folder.iterdir())
    del agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"]
    assert "agent.spool_keys" in agent.command("quarantine", "list").stdout
    locked = agent.command("quarantine", "retry", listed[0]["name"])
    assert (locked.returncode, "agent.spool_keys" in locked.stderr) == (1, True)
    shutil.copy(folder / f"{listed[0]['name']}.json", folder / "spare.json")
    assert agent.command("quarantine", "drop", "spare").stdout == "spare: dropped\n"
    agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"] = key
    execute(database, "alter table core.sample drop constraint no_load")
    seen = tables.intervals("aurora")
    wait_until(lambda: tables.intervals("aurora") > seen, seconds=30, what="delivery going on")
    assert agent.stop() == 0
    assert agent.command("quarantine", "drop", "../../nothing").returncode == 1
    assert agent.command("quarantine", "drop").returncode == 2
    assert agent.command("quarantine", "retry", "--all").returncode == 0
    assert agent.command("quarantine", "list").stdout == "Nothing is in quarantine.\n"
    stored, due = tables.samples("aurora"), {key for key in due_samples(agent) if key[0].startswith("load")}
    assert {ts for _, _, ts in due - set(stored)} <= {max(ts for _, _, ts in due)}
    assert tables.duplicates() == 0


def execute(database: SecretStr, statement: LiteralString) -> None:
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(statement)


def test_status_tells_people_and_programs(agent: AgentHome, database: SecretStr) -> None:
    assert "no agent has run here" in agent.command("status").stderr
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: agent.status()["delivery"]["tenants"].get("aurora", {}).get("rows", 0) > 0, seconds=30)
    told = json.loads(agent.command("status", "--json").stdout)
    assert told["state"] == "running"
    assert told["sampling"]["collectors"]["cpu"]["errors"] == {}
    assert told["delivery"]["lag_seconds"] < patient(10)
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


def test_an_incident_is_noticed_by_itself_and_its_window_closed(agent: AgentHome, database: SecretStr) -> None:
    tables = Tables(database)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 1, seconds=30)
    opened = datetime.now(UTC) - timedelta(minutes=30)  # before the agent was there: nothing is left to deliver
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(
            "insert into core.incident (tenant_key, host, source, opened_at, updated_at, resolved_at, severity,"
            " peak_score, title, model_version) select tenant_key, %s, 'stream', %s, %s, %s, 'warning', 0.9, 'x', '1'"
            " from core.tenant where tenant_id = 'aurora'",
            (agent.status()["host"], opened, opened, opened + timedelta(minutes=1)),
        )
    wait_until(
        lambda: tables.query("select complete from core.detail_window") == [(True,)], seconds=40, what="the window"
    )
    wait_until(lambda: agent.status()["incidents"]["completed"] == 1, seconds=10, what="the status")
    assert agent.stop() == 0


def test_the_recorder_is_shown_with_and_without_a_running_agent(agent: AgentHome, database: SecretStr) -> None:
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    agent.environment["COLLECTORS__AGENT__SAMPLE_INTERVAL_SECONDS"] = "0.1"
    wait_until(lambda: agent.status()["sampling"]["sweeps"] > 30, seconds=30)
    running = shown(agent, "--from", "-5m", "--metric", "load1", "--json")
    assert len(running) > 20
    assert agent.stop() == 0
    before = {path: path.read_bytes() for path in (agent.home / "agent").rglob("*") if path.is_file()}
    stopped = shown(agent, "--from", "-5m", "--metric", "load1", "--json")
    assert stopped[: len(running)] == running
    assert {json.loads(line)["metric"] for line in stopped} == {"load1"}
    theirs = [json.loads(line) for line in shown(agent, "--from", "-5m", "--tenant", "aurora", "--json")]
    assert {each["collector"] for each in theirs} == {"load", "cpu"}
    assert shown(agent, "--from", "-5m", "--metric", "load1", "--csv")[0].startswith("timestamp,host,collector,metric")
    assert shown(agent, "--from", "-5m", "--metric", "load1")[0].endswith("load1")
    nothing = agent.command("replay", "--from", "2020-01-01", "--to", "2020-01-02")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "nothing was recorded" in nothing.stderr
    assert {path: path.read_bytes() for path in before} == before


def shown(agent: AgentHome, *arguments: str) -> list[str]:
    done = agent.command("replay", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_window_somebody_asks_for_is_delivered_once(
    agent: AgentHome, database: SecretStr, manual_clock: ManualClock
) -> None:
    root = agent.home / "agent" / "spool"
    identity = load_identity(root)
    key = bytes(range(32))
    agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"] = base64.b64encode(key).decode()
    spool = open_spool(identity.directory, manual_clock, sealer=Sealer([key]))
    append_seconds(spool, manual_clock, [(float(at), 7.0 * at) for at in range(300)])
    agent.write_tenant("aurora", collectors="[load, disk]")
    agent.deliver_to(database)
    window = ("--from", "2026-01-01T00:01", "--to", "2026-01-01T01:03:00+01:00")
    unknown = agent.command("replay", *window, "--ship", "--tenant", "nobody")
    assert "there is no tenant 'nobody'" in unknown.stderr
    assert "--tenant" in agent.command("replay", *window, "--ship").stderr
    with DeliveryStore(database, application_name="tests") as store:
        store.tenants.sync([Tenant("aurora", "Aurora")])
    assert shown(agent, *window, "--ship", "--tenant", "aurora") == ["240 values delivered that were not there yet"]
    assert shown(agent, *window, "--ship", "--tenant", "aurora") == ["0 values delivered that were not there yet"]
    (row,) = Tables(database).query("select count(*), sum(cardinality(offsets))::int from core.sample_detail")
    assert row == (4, 240)
    agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"] = base64.b64encode(bytes(32)).decode()
    locked = agent.command("replay", *window)
    assert locked.returncode == 1
    assert "agent.spool_keys" in locked.stderr
    spool.close()


def test_times_that_cannot_be_understood_are_refused_with_examples(agent: AgentHome) -> None:
    load_identity(agent.home / "agent" / "spool")
    assert "-15m or now" in agent.command("replay", "--from", "yesterday").stderr
    assert agent.command("replay", "--from", "now", "--to", "-1h").returncode == 2
    assert agent.command("replay", "--from", "-1h", "--json", "--csv").returncode == 2


def test_an_encrypted_agent_delivers_like_any_other(agent: AgentHome, database: SecretStr) -> None:
    tables = Tables(database)
    key = base64.b64encode(bytes(range(32))).decode()
    keys = agent.root / "keys"
    keys.write_text(key)
    keys.chmod(0o600)
    agent.environment["COLLECTORS__AGENT__SPOOL_KEYS_FILE"] = str(keys)
    agent.write_tenant("aurora")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 2, seconds=30)
    assert agent.stop() == 0
    segments = list((agent.home / "agent" / "spool").rglob("*.segz"))
    assert segments
    assert all(b"SEAL" in path.read_bytes() for path in segments)
    assert key not in agent.log
    keys.chmod(0o644)
    refused = agent.command("run")
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_sensitive_series_are_sealed_on_disk_and_delivered_like_any_other(
    agent: AgentHome, database: SecretStr
) -> None:
    tables = Tables(database)
    agent.environment |= {
        "COLLECTORS__AGENT__SENSITIVE": "load1, *.interface",
        "COLLECTORS__AGENT__SPOOL_ENCRYPTION": "sensitive",
        "COLLECTORS__AGENT__SPOOL_KEYS": base64.b64encode(bytes(range(32))).decode(),
    }
    agent.write_tenant("aurora", collectors="[load, network, cpu]")
    agent.deliver_to(database)
    agent.start()
    wait_until(lambda: tables.intervals("aurora") >= 2, seconds=30)
    assert agent.status()["spool"]["encrypted"] == "sensitive"
    spool = load_identity(agent.home / "agent" / "spool").directory
    live = b"".join(path.read_bytes() for path in spool.iterdir())
    assert agent.stop() == 0
    assert agent.status()["spool"]["compression"]["controls"] == "gzip"
    packed = b"".join(unpacked(block.body, 10**8) for path in spool.glob("*.segz") for block in plain_blocks(path))
    for on_disk in (live, packed):
        assert b"load5" in on_disk
        assert not [name for name in (b'load1"', b"interface") if name in on_disk]
    delivered = tables.samples("aurora")
    assert {"load1", "load5"} <= {metric for metric, _, _ in delivered}
    assert "interface" in {name for _, labels, _ in delivered for name, _ in labels}
    assert shown(agent, "--from", "-5m", "--metric", "load1", "--csv")[1:]
    del agent.environment["COLLECTORS__AGENT__SPOOL_KEYS"]
    assert "agent.spool_keys" in agent.command("replay", "--from", "-5m").stderr


def plain_blocks(path: Path) -> list[Any]:
    """Return the blocks of a packed segment that are not sealed, not even in part."""
    return [block for block in _blocks(path.read_bytes()) if block is not None and block.mark == b"BLOK"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"SENSITIVE": "load1"},
            "agent.sensitive names load1, but there is no key to seal it with; set agent.spool_keys",
        ),
        (
            {"SENSITIVE": "laod1", "SPOOL_KEYS": base64.b64encode(bytes(32)).decode()},
            "agent.sensitive: laod1: no source",
        ),
        ({"SPOOL_ENCRYPTION": "sensitive"}, "nothing would be encrypted; name sources, metrics or labels there"),
        ({"SENSITIVE": "a b"}, "agent.sensitive"),
    ],
)
def test_sensitive_series_that_could_not_be_sealed_stop_the_agent_at_its_start(
    agent: AgentHome, settings: dict[str, str], told: str
) -> None:
    agent.environment |= {f"COLLECTORS__AGENT__{name}": value for name, value in settings.items()}
    refused = agent.command("run")
    assert refused.returncode == 1
    assert told in refused.stderr
    assert not list((agent.home / "agent").rglob("*.seg*"))


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
