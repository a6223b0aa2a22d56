"""The local stack as a user meets it: started, looked at, killed, started again, stopped."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest

from collectors_dagster.supervisor.account import database_account
from collectors_dagster.supervisor.postgres import find_binaries, reachable_programs
from tests.support.killed import killed_at_last
from tests.support.stack import BASE, ROOT, LocalStack, python_for
from tests.support.waiting import wait_until


@contextmanager
def at_rest() -> Iterator[LocalStack]:
    """Yield a stack that was never started, and leave nothing of it."""
    with TemporaryDirectory(prefix="collectors-stack-") as folder:
        Path(folder).chmod(0o755)
        ours = LocalStack(Path(folder) / "home")
        try:
            yield ours
        finally:
            ours.run("down")
            for left in ours.processes():
                left.kill()


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """Yield a stack that was never started."""
    with at_rest() as ours:
        yield ours


@pytest.fixture(scope="module")
def made() -> Iterator[LocalStack]:
    """Yield a stack whose cluster exists: making one costs more than everything else."""
    with at_rest() as ours:
        assert ours.up("postgres").returncode == 0
        assert ours.run("down").returncode == 0
        yield ours


@pytest.fixture
def resting(made: LocalStack) -> LocalStack:
    """Return a stack of which nothing runs."""
    if made.processes():
        assert made.run("down").returncode == 0
    return made


@pytest.fixture
def running(made: LocalStack) -> LocalStack:
    """Return a stack that runs PostgreSQL and nothing else."""
    return running_only(made, "postgres")


@pytest.fixture
def both(made: LocalStack) -> LocalStack:
    """Return a stack that runs PostgreSQL and Redis."""
    return running_only(made, "postgres", "redis")


def running_only(stack: LocalStack, *names: str) -> LocalStack:
    """Have these components run, and no other; what the test before left so is used again."""
    told = {each["name"]: (each["state"], each["restarts"]) for each in stack.status()["components"]}
    runs = {name for name, (state, _) in told.items() if state != "stopped"}
    if runs == {"supervisor", *names} and all(told[name] == ("ready", 0) for name in runs):
        return stack
    if runs:
        assert stack.run("down").returncode == 0
    done = stack.up(",".join(names))
    assert done.returncode == 0, done.stderr
    return stack


def nobodys_python() -> str:
    python = python_for("nobody")
    if python is None:
        pytest.skip("no interpreter that the account nobody may run")
    return python


@contextmanager
def damaged_file(path: Path) -> Iterator[None]:
    content = path.read_text()
    path.write_text("nonsense\n")
    try:
        yield
    finally:
        path.write_text(content)


@contextmanager
def strange_schema(stack: LocalStack) -> Iterator[None]:
    """Have a schema that no migration of ours made."""
    with stack.connect() as connection:
        connection.execute("drop schema if exists core cascade")
        connection.execute("drop schema if exists api cascade")
        connection.execute("create schema core")
    yield
    with stack.connect() as connection:
        connection.execute("drop schema core cascade")


def commit_rows(stack: LocalStack, count: int) -> None:
    """Commit rows one by one, each in a transaction of its own."""
    with stack.connect() as connection:
        connection.autocommit = True
        connection.execute("drop table if exists kept")
        connection.execute("create table kept (n integer primary key)")
        for number in range(count):
            connection.execute("insert into kept values (%s)", [number])


def kept_rows(stack: LocalStack) -> int:
    with stack.connect() as connection:
        row = connection.execute("select count(*) from kept").fetchone()
        assert row is not None
        return int(row[0])


def wait_until_replaced(stack: LocalStack, name: str, pid: int) -> None:
    def replaced() -> bool:
        found = stack.component(name)
        return found["state"] == "ready" and found["pid"] not in {None, pid}

    wait_until(replaced, 60, f"another {name}")


def test_up_starts_in_order_and_status_tells_of_every_component(stack: LocalStack) -> None:
    done = stack.up()
    assert done.returncode == 0, done.stderr
    found = stack.asked()
    states = {each["name"]: each["state"] for each in found["components"]}
    assert found["ready"]
    assert {name: states[name] for name in BASE.split(",")} == {
        "postgres": "ready",
        "redis": "ready",
        "migrations": "done",
    }
    assert set(states) >= {"supervisor", "mlflow", "code-server", "webserver", "daemon", "agent", "scorer"}
    for name in ("supervisor", "postgres", "redis"):
        told = stack.component(name)
        assert told["pid"]
        assert told["since"]
        assert told["version"]
    assert stack.component("postgres")["address"] == f"127.0.0.1:{stack.ports['postgres']}"
    assert done.stdout.index("postgres ready") < done.stdout.index("migrations starting")


def test_the_database_is_durable_local_and_asks_for_a_password(running: LocalStack) -> None:
    with running.connect() as connection:
        asked = ("fsync", "full_page_writes", "data_checksums", "listen_addresses", "password_encryption")
        shown = [connection.execute(f"show {name}").fetchone() for name in asked]
    assert [row[0] for row in shown if row] == ["on", "on", "on", "127.0.0.1", "scram-sha-256"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host="127.0.0.1", port=running.ports["postgres"], dbname="collectors", user="collectors", password="wrong"
        )


def test_the_database_lets_us_make_logins_and_lets_them_hold_nothing_up(running: LocalStack) -> None:
    with running.connect() as connection:
        ours = connection.execute(
            "select rolcreaterole, rolsuper from pg_roles where rolname = current_user"
        ).fetchone()
        assert ours == (True, False)
        for function in ("pg_advisory_lock(bigint)", "lo_from_bytea(oid, bytea)"):
            rights = connection.execute(
                "select has_function_privilege(%s, 'execute'), has_function_privilege('public', %s, 'execute')",
                [function, function],
            ).fetchone()
            assert rights == (True, False)
        open_to_all = "select datname from pg_database where has_database_privilege('public', datname, 'connect')"
        assert connection.execute(open_to_all).fetchall() == [("template0",)]  # which takes no connections


def test_a_second_up_changes_nothing(running: LocalStack) -> None:
    before = {name: running.pid(name) for name in ("supervisor", "postgres")}
    again = running.up("postgres")
    assert again.returncode == 0, again.stderr
    assert {name: running.pid(name) for name in before} == before


def test_with_json_standard_output_is_json_alone(running: LocalStack) -> None:
    done = running.run("up", "--only", "postgres", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ready"] is True
    assert "postgres ready" in done.stderr


def test_two_at_the_same_time_start_one_stack(stack: LocalStack) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: stack.up("redis"), range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    commands = [" ".join(process.cmdline()) for process in stack.processes()]
    assert len([command for command in commands if f"127.0.0.1:{stack.ports['redis']}" in command]) == 1
    assert len([command for command in commands if "collectors_dagster.supervisor" in command]) == 1


def test_a_later_up_adds_components_to_those_that_run(running: LocalStack) -> None:
    before = running.pid("postgres")
    assert running.up("redis").returncode == 0
    assert running.component("redis")["state"] == "ready"
    assert running.pid("postgres") == before


def test_a_component_that_keeps_crashing_is_given_up_visibly_and_comes_back_when_mended(both: LocalStack) -> None:
    damaged = both.home / "redis" / "appendonlydir" / "appendonly.aof.manifest"
    with damaged_file(damaged):
        both.kill("redis")
        wait_until(lambda: both.component("redis")["state"] == "failed", 60, "giving up")
        given_up = both.component("redis")
    assert "ended with code 1" in given_up["message"]
    assert given_up["restarts"] == 4
    assert both.component("postgres")["state"] == "ready"
    assert both.up("redis").returncode == 0
    assert both.component("redis")["state"] == "ready"


def test_a_log_is_rotated_and_bounded_while_its_writer_goes_on(both: LocalStack) -> None:
    log, older = both.home / "logs" / "redis.log", both.home / "logs" / "redis.log.1"
    both.run("down")
    log.write_text("y" * 20_000 + "\n")
    assert both.up("redis", COLLECTORS__LOG__MAX_BYTES="10000").returncode == 0
    wait_until(older.exists, 60, "rotation")
    assert older.read_text().startswith("yyy")
    both.run("down")
    assert "yyy" not in log.read_text()
    assert "bye bye" in log.read_text()


def test_down_leaves_nothing_of_ours_and_everything_else(both: LocalStack) -> None:
    with killed_at_last(["sleep", "600"]) as bystander:
        done = both.run("down")
        assert done.returncode == 0
        assert both.processes() == []
        assert bystander.poll() is None
    assert all(each["state"] == "stopped" for each in both.status()["components"])
    for name in ("postgres", "redis"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", both.ports[name]), 5).close()


def test_down_twice_is_harmless(stack: LocalStack) -> None:
    done = stack.run("down")
    assert (done.returncode, done.stdout.strip()) == (0, "nothing was running")


def test_no_committed_row_is_lost_when_the_supervisor_is_killed(running: LocalStack) -> None:
    commit_rows(running, 200)
    orphan = running.pid("postgres")
    running.kill("supervisor")
    wait_until(lambda: running.component("postgres")["state"] == "unsupervised", 20, "its end")
    assert running.up("postgres").returncode == 0
    assert kept_rows(running) == 200
    assert running.component("postgres")["state"] == "ready"
    assert running.pid("postgres") != orphan
    assert orphan not in {process.pid for process in running.processes()}  # a zombie is init's to bury


def test_down_stops_what_a_killed_supervisor_left(running: LocalStack) -> None:
    running.kill("supervisor")
    assert running.run("down").returncode == 0
    assert running.processes() == []


def test_a_killed_postmaster_is_replaced_while_the_stack_runs(running: LocalStack) -> None:
    commit_rows(running, 200)
    killed = running.kill("postgres")
    wait_until_replaced(running, "postgres", killed)
    assert kept_rows(running) == 200
    assert running.component("postgres")["restarts"] >= 1


def test_no_committed_row_is_lost_when_everything_is_killed_at_once(running: LocalStack) -> None:
    commit_rows(running, 200)
    busy = running.connect()
    busy.execute("insert into kept values (1000)")  # never committed
    for process in running.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    done = running.up("postgres")
    busy.close()
    assert done.returncode == 0, done.stderr
    assert kept_rows(running) == 200


def test_a_postmaster_that_dies_with_its_supervisor_is_recovered(running: LocalStack) -> None:
    commit_rows(running, 50)
    postmaster = running.pid("postgres")
    running.kill("supervisor")
    os.kill(postmaster, signal.SIGKILL)
    assert running.up("postgres").returncode == 0
    assert kept_rows(running) == 50


@pytest.mark.parametrize("moment", ["run/stack.json", "postgres/data.new"])
def test_a_supervisor_killed_during_the_first_start_leaves_nothing_and_the_next_up_succeeds(
    stack: LocalStack, moment: str
) -> None:
    with stack.begin_up("postgres") as beginning:
        wait_until((stack.home / moment).exists, 60, moment)
        supervisor = stack.supervisor()
        assert supervisor is not None
        supervisor.kill()
        _, error = beginning.communicate(timeout=300)
    assert beginning.returncode == 1
    assert "the supervisor ended unexpectedly" in error
    assert stack.processes() == []
    assert stack.up("postgres").returncode == 0
    commit_rows(stack, 1)


def test_an_up_that_is_killed_is_taken_over_by_the_next(stack: LocalStack) -> None:
    with stack.begin_up("postgres") as beginning:
        wait_until(lambda: stack.supervisor() is not None, 60, "the supervisor")
        beginning.kill()
    first = stack.supervisor()
    done = stack.up("postgres")
    assert done.returncode == 0, done.stderr
    assert stack.supervisor() == first


def test_an_interrupted_up_takes_back_what_it_began(stack: LocalStack) -> None:
    with stack.begin_up("postgres") as beginning:
        wait_until((stack.home / "run" / "stack.json").exists, 60, "the start")
        beginning.send_signal(signal.SIGINT)
        beginning.communicate(timeout=300)
    assert beginning.returncode == 130
    assert stack.processes() == []


def test_a_killed_agent_is_started_again_and_goes_on(running: LocalStack) -> None:
    assert running.up("migrations,agent").returncode == 0
    epoch = running.component("agent")["detail"]["epoch"]
    killed = running.kill("agent")
    wait_until_replaced(running, "agent", killed)
    assert running.component("agent")["detail"]["epoch"] == epoch


def test_a_stale_mark_with_a_reused_number_does_not_stop_the_start(running: LocalStack) -> None:
    running.run("down")
    place = json.loads((running.home / "postgres.place.json").read_text()) if os.geteuid() == 0 else None
    data = Path(place["root"] if place else running.home / "postgres") / "data"
    with killed_at_last(["sleep", "600"], user="nobody" if os.geteuid() == 0 else None) as bystander:
        (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n")
        done = running.up("postgres")
        assert done.returncode == 0, done.stderr
        assert bystander.poll() is None


def test_a_number_that_now_belongs_to_somebody_else_is_left_alone(running: LocalStack) -> None:
    running.run("down")
    state = running.home / "run" / "stack.json"
    with killed_at_last(["sleep", "600"], start_new_session=True) as bystander:
        told = json.loads(state.read_text())
        for each in told["components"]:
            each["process"] = {"pid": bystander.pid, "born": "another boot/1"}
        told["supervisor"] = {"pid": bystander.pid, "born": "another boot/1"}
        state.write_text(json.dumps(told))
        assert running.run("down").returncode == 0
        assert running.up("redis").returncode == 0
        assert bystander.poll() is None


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_taken_port_is_named_with_its_setting_and_nothing_is_left(stack: LocalStack, name: str) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", stack.ports[name]))
        somebody.listen()
        done = stack.up()
    assert done.returncode == 1
    assert f"COLLECTORS__PORTS__{name.upper()}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert stack.processes() == []


def test_a_home_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = LocalStack(tmp_path / "file" / "home").up()
    assert done.returncode == 1
    assert "COLLECTORS_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_component_that_cannot_start_takes_the_whole_start_back(running: LocalStack) -> None:
    with strange_schema(running):
        running.run("down")
        done = running.up(BASE)
        left = running.processes()
        assert running.up("postgres").returncode == 0
    assert done.returncode == 1
    assert "collectors: migrations ended with code 1" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert left == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_gets_the_remedy_for_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="collectors-stack-") as folder:
        Path(folder).chmod(0o755)  # root's: nobody may look, not write
        done = LocalStack(Path(folder) / "home", account="nobody", python=nobodys_python()).up()
        assert done.returncode == 1
        assert "cannot be written" in done.stderr
        assert "COLLECTORS_HOME" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_as_root_the_database_runs_as_another_account(running: LocalStack) -> None:
    owner = psutil.Process(running.pid("postgres")).uids().real
    assert owner != 0
    assert pwd.getpwuid(owner).pw_name in {"collectors", "postgres", "nobody"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_as_root_a_home_that_nobody_else_may_enter_still_works(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="collectors-private-") as folder:  # 0700: the account cannot enter it
        private = LocalStack(Path(folder) / "home")
        try:
            done = private.up("postgres")
            assert done.returncode == 0, done.stderr
            place = Path(json.loads((private.home / "postgres.place.json").read_text())["root"])
            assert place.is_relative_to("/var/lib/collectors_dagster")
            commit_rows(private, 10)
            private.run("down")
            assert private.up("postgres").returncode == 0
            assert kept_rows(private) == 10
            private.run("down")
            shutil.rmtree(private.home)
            assert private.up("postgres").returncode == 0
            with pytest.raises(psycopg.errors.UndefinedTable):  # a deleted home does not come back by half
                kept_rows(private)
        finally:
            private.run("down")
            subprocess.run(["rm", "-rf", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_programs_that_the_account_cannot_reach_are_copied_with_their_libraries(tmp_path: Path) -> None:
    package = find_binaries().parents[1]
    account = database_account("nobody")
    assert account is not None
    with TemporaryDirectory(prefix="collectors-private-") as private, TemporaryDirectory() as shared:
        Path(shared).chmod(0o755)
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, Path(private) / part.name)
        hidden = Path(private) / find_binaries().relative_to(package.parent)
        assert not account.can_run(hidden / "initdb")
        reached = reachable_programs(hidden, account, Path(shared) / "copies")
        assert account.can_run(reached / "initdb")
        assert account.can_run(reached / "postgres")
        assert reached.is_relative_to(shared)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_needs_no_root() -> None:
    with TemporaryDirectory(prefix="collectors-stack-") as folder:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        ordinary = LocalStack(Path(folder) / "home", account="nobody", python=nobodys_python())
        try:
            done = ordinary.up("postgres,redis")
            assert done.returncode == 0, done.stderr
            assert psutil.Process(ordinary.pid("postgres")).username() == "nobody"
        finally:
            ordinary.run("down")


def test_the_supervisor_can_be_looked_into_without_a_restart(resting: LocalStack, tmp_path: Path) -> None:
    config = Path(shutil.copytree(ROOT / "config", tmp_path / "config"))
    assert resting.up("postgres", COLLECTORS_CONFIG_DIR=str(config)).returncode == 0
    before = resting.supervisor()
    switches = config / "development.yml"
    switches.write_text("debug: {components: {supervisor: {metrics: true, memory: true}}}\n")
    log = resting.home / "logs" / "supervisor.log"
    wait_until(lambda: "debug metrics" in log.read_text(), 30, "metrics")
    switches.write_text("debug: {components: {}}\n")
    wait_until(lambda: any((resting.home / "debug").glob("supervisor-memory-*.txt")), 30, "a report")
    assert resting.supervisor() == before
    resting.run("down")


@pytest.fixture
def mistyped(resting: LocalStack, tmp_path: Path) -> Iterator[LocalStack]:
    """Yield a stack that runs although its home stands in a file which was mistyped after the start."""
    config = Path(shutil.copytree(ROOT / "config", tmp_path / "config"))
    settings = config / "development.yml"
    settings.write_text(f"home: {resting.home}\n")
    ours = ElsewhereConfigured(resting.home, resting.ports, config=config)
    done = ours.up("postgres")
    assert done.returncode == 0, done.stderr
    settings.write_text(f"home: {resting.home}\nlog: {{levle: debug}}\n")
    yield ours
    ours.run("down")


@dataclass(frozen=True)
class ElsewhereConfigured(LocalStack):
    """A stack whose home is known from its settings file alone."""

    config: Path = ROOT / "config"

    def environment(self) -> dict[str, str]:
        named = super().environment()
        del named["COLLECTORS_HOME"]
        return named | {"COLLECTORS_CONFIG_DIR": str(self.config)}


REFUSED = "config/development.yml:2: log.levle is not a known key; did you mean level?"


def test_a_mistyped_settings_file_does_not_stop_looking(mistyped: LocalStack) -> None:
    shown, told, logs = mistyped.run("status"), mistyped.run("status", "--json"), mistyped.run("logs", "postgres")
    assert [each.returncode for each in (shown, told, logs)] == [0, 0, 0]
    for each in (shown, told, logs):
        assert each.stderr.startswith(f"collectors: {REFUSED}")
        assert len(each.stderr.splitlines()) == 1
    assert f"configuration: {REFUSED}" in shown.stdout
    found = json.loads(told.stdout)
    assert found["problems"][0].startswith(REFUSED)
    assert {each["name"]: each["state"] for each in found["components"]}["postgres"] == "ready"
    assert "database system is ready" in logs.stdout


def test_a_mistyped_settings_file_does_not_stop_stopping_but_starting(mistyped: LocalStack) -> None:
    for words in (("up", "--only", "postgres"), ("run", "pipeline", "--tenant", "aurora")):
        refused = mistyped.run(*words)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"collectors: {REFUSED}")
    assert mistyped.component("postgres")["state"] == "ready"
    done = mistyped.run("down")
    assert (done.returncode, done.stdout.strip()) == (0, "stopped postgres")
    assert mistyped.processes() == []


def test_status_tells_an_unwell_component_by_its_exit_code_whatever_the_settings(mistyped: LocalStack) -> None:
    assert mistyped.run("status").returncode == 0
    mistyped.kill("supervisor")
    wait_until(lambda: mistyped.component("postgres")["state"] == "unsupervised", 20, "its end")
    assert mistyped.run("status").returncode == 1


def test_logs_show_one_component_or_all_with_their_names(both: LocalStack) -> None:
    one = both.run("logs", "postgres", "-n", "3")
    every = both.run("logs", "-n", "1")
    assert len(one.stdout.splitlines()) == 3
    assert {"postgres |", "redis |"} <= {line[: line.index("|") + 1] for line in every.stdout.splitlines()}
    unknown = both.run("logs", "nonsense")
    assert unknown.returncode == 1
    assert "postgres" in unknown.stderr


def test_every_log_is_json_lines_that_name_their_component(running: LocalStack) -> None:
    assert running.up("redis,migrations,agent").returncode == 0
    running.run("down")
    for name in ("supervisor", "postgres", "redis", "migrations", "agent"):
        lines = [json.loads(line) for line in (running.home / "logs" / f"{name}.log").read_text().splitlines()]
        assert lines
        assert {line["component"] for line in lines} == {name}
        assert all(line["event"] and line["timestamp"] and line["level"] for line in lines)


def test_what_a_component_prints_while_nobody_supervises_it_is_not_lost(both: LocalStack) -> None:
    both.kill("supervisor")
    log = both.home / "logs" / "redis.log"
    assert "User requested shutdown" not in log.read_text()[-300:]
    before = log.read_text().count("User requested shutdown")
    psutil.Process(both.pid("redis")).terminate()
    wait_until(lambda: both.component("redis")["pid"] is None, 30, "the end of redis")
    assert both.up("redis").returncode == 0
    assert log.read_text().count("User requested shutdown") == before + 1


def test_secrets_are_only_for_their_owner_and_in_no_log(both: LocalStack) -> None:
    secrets = {path: path.read_text() for path in (both.home / "secrets").iterdir()}
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    told = "".join(path.read_text() for path in (both.home / "logs").glob("*.log"))
    told += (both.home / "run" / "stack.json").read_text()
    lines = [" ".join(process.cmdline()) for process in both.processes()]
    assert not [secret for secret in secrets.values() if secret in told or secret in " ".join(lines)]


def test_an_unknown_component_is_refused_with_the_known_ones(stack: LocalStack) -> None:
    done = stack.up("postgress")
    assert done.returncode == 1
    assert "postgress" in done.stderr
    assert "postgres, redis" in done.stderr
