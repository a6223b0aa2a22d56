"""What a Dagster run of ours costs before it does anything, against the same run of an empty project.

Three projects on one instance (PostgreSQL, our ``dagster.yaml``, one daemon), each behind a code server of its own:
an empty one (its run is the unit, F), ours, and one that serves 50 tenants with our chain's seven assets whose stages
do nothing. CPU is that of the run's own process, as its code server accounts for it; what planning the many partitions
costs the process that launches is added to the batch.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.integrations.timescale import migrate
from collectors_dagster.supervisor import dagster_process
from tests.support.postgres import PASSWORD, PostgresServer, free_port, running_postgres

ROOT = Path(__file__).resolve().parent.parent
TENANTS = 50
ROUNDS = 5
CLOCK = SystemClock()
RANGE = "dagster/asset_partition_range"


@dataclass(frozen=True, slots=True)
class Project:
    """A code server and the job launched in it."""

    name: str
    module: str
    job: str
    tags: dict[str, str]
    port: int


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of one run, and of the process that launched it."""

    run: float
    launch: float


class Stack:
    """The running processes."""

    def __init__(self, home: Path, environment: dict[str, str], projects: list[Project]) -> None:
        self.environment = environment
        self.workspace = home / "workspace.yaml"
        servers = [{"grpc_server": {"host": "127.0.0.1", "port": p.port, "location_name": p.name}} for p in projects]
        self.workspace.write_text(json.dumps({"load_from": servers}))
        self.log = (home / "log").open("wb")
        self.servers = {project.name: self._start(*_server(project)) for project in projects}

    def start_daemon(self) -> None:
        """Start what launches queued runs and evaluates our schedules and sensors."""
        self.daemon = self._start("dagster._daemon", "run", "-w", str(self.workspace))

    def cost(self, project: Project, instance: dg.DagsterInstance) -> Cost:
        """Launch a run and wait for its end."""
        known = {run.run_id for run in instance.get_runs(dg.RunsFilter(job_name=project.job))}
        before, launched = self._children_seconds(project.name), _own_children_seconds()
        words = ("job", "launch", "-w", str(self.workspace), "-l", project.name, "-j", project.job)
        self._call("dagster", *words, "--tags", json.dumps(project.tags))
        launch = _own_children_seconds() - launched
        [run] = [one for one in instance.get_runs(dg.RunsFilter(job_name=project.job)) if one.run_id not in known]
        _until(lambda: _ended(instance, run.run_id), f"run of {project.job}")
        _until(lambda: self._children_seconds(project.name) > before, f"end of the process of {project.job}")
        return Cost(self._children_seconds(project.name) - before, launch)

    def pss_megabytes(self, name: str) -> float:
        """Return the memory of a code server; shared pages count in parts where the system tells them."""
        process = psutil.Process(self.servers[name].pid)
        memory = process.memory_full_info()
        return float(getattr(memory, "pss", memory.rss)) / 1e6

    def stop(self) -> None:
        """Stop everything, and wait."""
        processes = [*self.servers.values(), *([self.daemon] if hasattr(self, "daemon") else [])]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.log.close()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *words]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)

    def _call(self, *words: str) -> None:
        command = [sys.executable, "-m", *words]
        subprocess.run(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log, check=True)

    def _children_seconds(self, name: str) -> float:
        times = psutil.Process(self.servers[name].pid).cpu_times()
        return float(times.children_user + times.children_system)


def _server(project: Project) -> tuple[str, ...]:
    place = ("--host", "127.0.0.1", "--port", str(project.port), "--location-name", project.name)
    # Ours as `collectors up` starts it, the empty project as Dagster's own documentation says.
    program = (dagster_process.__name__,) if project.name == "ours" else ()
    return (*program, "dagster", "api", "grpc", "--module-name", project.module, *place)


def _own_children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}:
        raise RuntimeError(f"run {run_id} of {run.job_name} failed: the figures would mean nothing")
    return run is not None and run.status is dg.DagsterRunStatus.SUCCESS


def _until(condition: object, what: str, seconds: float = 180.0) -> None:
    assert callable(condition)
    deadline = CLOCK.monotonic() + seconds
    while not condition():
        if CLOCK.monotonic() > deadline:
            raise TimeoutError(f"the {what} did not come within {seconds:.0f} s")
        CLOCK.sleep(0.2)


@contextmanager
def _stack(home: Path, server: PostgresServer) -> Iterator[tuple[Stack, dict[str, Project], dg.DagsterInstance]]:
    """Start the code servers, make 50 tenants, then start the daemon."""
    server.create_database("collectors")
    server.create_database("dagster")
    migrate(server.conninfo("collectors"), clock=CLOCK)
    environment = _environment(home, server)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    names = [f"tenant-{number:02}" for number in range(TENANTS)]
    first, last = f"{names[0]}|{today}", f"{names[-1]}|{today}"
    projects = {
        "empty": Project("empty", "bench.run_cost_projects.empty", "empty", {}, free_port()),
        "ours": Project("ours", "collectors_dagster.definitions", "retention", _range(names[0], names[0]), free_port()),
        "batch": Project("batch", "bench.run_cost_projects.batch", "batch", _range(first, last), free_port()),
    }
    os.environ |= environment  # noqa: TID251  # Dagster's instance in this very process reads its address there
    with ExitStack() as cleanup:
        instance = cleanup.enter_context(dg.DagsterInstance.get())
        instance.add_dynamic_partitions("tenant", names)
        stack = Stack(home, environment, list(projects.values()))
        cleanup.callback(stack.stop)
        CLOCK.sleep(8)
        stack.start_daemon()
        yield stack, projects, instance


def _range(first: str, last: str) -> dict[str, str]:
    return {f"{RANGE}_start": first, f"{RANGE}_end": last}


def _environment(home: Path, server: PostgresServer) -> dict[str, str]:
    shutil.copy(ROOT / "dagster.yaml", home)
    shutil.copytree(ROOT / "config", home / "config", ignore=shutil.ignore_patterns("tenants"))
    (home / "config" / "tenants").mkdir()
    for number in range(TENANTS):
        text = f"id: tenant-{number:02}\nname: Tenant {number}\nalerts: []\n"
        (home / "config" / "tenants" / f"tenant-{number:02}.yml").write_text(text)
    kept = {k: v for k, v in process_environment().items() if not k.startswith(("COLLECTORS", "DAGSTER"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_HOST": "127.0.0.1",
        "DAGSTER_PG_PORT": str(server.port),
        "DAGSTER_PG_USER": "collectors",
        "DAGSTER_PG_PASSWORD": PASSWORD,
        "DAGSTER_PG_DB": "dagster",
        "DAGSTER_EVENT_BATCH_SIZE": "200",
        "MALLOC_ARENA_MAX": "2",
        "PYTHONDONTWRITEBYTECODE": "",
        "COLLECTORS_HOME": str(home / "home"),
        "COLLECTORS_CONFIG_DIR": str(home / "config"),
        "COLLECTORS__POSTGRES__HOST": "127.0.0.1",
        "COLLECTORS__POSTGRES__PORT": str(server.port),
        "COLLECTORS__POSTGRES__DB": "collectors",
        "COLLECTORS__POSTGRES__DAGSTER_DB": "dagster",
        "COLLECTORS__POSTGRES__USER": "collectors",
        "COLLECTORS__POSTGRES__PASSWORD": PASSWORD,
    }


def measure() -> Report:
    """Interleave the projects, so that a busy moment hits all of them, and compare medians."""
    with (
        tempfile.TemporaryDirectory(prefix="collectors-bench-") as scratch,
        running_postgres() as server,
        _stack(Path(scratch), server) as (stack, projects, instance),
    ):
        for project in projects.values():  # compiles, creates snapshots
            stack.cost(project, instance)
        costs: dict[str, list[Cost]] = {name: [] for name in projects}
        for _ in range(ROUNDS):
            for name, project in projects.items():
                costs[name].append(stack.cost(project, instance))
        pss = stack.pss_megabytes("ours")
    run = {name: statistics.median(one.run for one in found) for name, found in costs.items()}
    launch = {name: statistics.median(one.launch for one in found) for name, found in costs.items()}
    floor = run["empty"]
    batch = run["batch"] + max(launch["batch"] - launch["empty"], 0.0)
    goals = (
        Goal("empty run of ours / empty project (F)", run["ours"] / floor, 1.15),
        Goal(f"orchestration per tenant-hour in a batch of {TENANTS}, 7 assets, F", batch / TENANTS / floor, 0.03),
        Goal("code server, PSS in MB", pss, 130.0),
    )
    return Report("run_cost", goals, {"cpu_seconds_run": run, "cpu_seconds_launch": launch, "rounds": ROUNDS})


if __name__ == "__main__":
    main(measure, __doc__)
