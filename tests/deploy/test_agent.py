"""The agent's unit and image name only what exists, and hold all that the agent needs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from collectors_dagster.config.environment import DOCUMENT_NAMES, variable_for
from collectors_dagster.config.fields import leaves
from collectors_dagster.config.settings import Settings, load_settings
from tests.support.agents import AgentHome
from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.project import Project
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "deploy" / "agent"
UNIT = (AGENT / "collectors-agent.service").read_text()
INSTALLED = "/opt/collectors/.venv/bin/collectors"
INSTRUCTION = re.compile(r"^([A-Z]+)\s+((?:.*\\\n)*.*)$", re.MULTILINE)
IMAGE = [(name, words.replace("\\\n", " ")) for name, words in INSTRUCTION.findall((AGENT / "Dockerfile").read_text())]


class Unit(RawConfigParser):
    """A unit file, in which a key may come again and again."""

    def __init__(self) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys know upper and lower case
        self.read_string(UNIT)


def variables_of_unit() -> dict[str, str]:
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT, re.MULTILINE))


def variables_of_image() -> dict[str, str]:
    words = " ".join(words for name, words in IMAGE if name == "ENV")
    return dict(word.split("=", 1) for word in shlex.split(words))


def known_variables() -> set[str]:
    return {variable_for(path) for path, _ in leaves(Settings)} | set(DOCUMENT_NAMES)


@pytest.mark.parametrize("variables", [variables_of_unit(), variables_of_image()], ids=["unit", "image"])
def test_the_settings_named_are_real_and_their_values_taken(
    variables: dict[str, str], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {name: value for name, value in variables.items() if name.startswith("COLLECTORS")}
    assert len(ours) >= 3
    assert set(ours) <= known_variables()
    for name in ours.keys() - {"COLLECTORS_CONFIG_DIR"}:
        monkeypatch.setenv(name, ours[name])
    assert str(load_settings().home) == variables["COLLECTORS_HOME"]


def test_the_image_reads_the_host_where_it_is_mounted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables_of_image().items():
        if name.startswith("COLLECTORS__"):
            monkeypatch.setenv(name, value)
    agent = load_settings().agent
    assert (str(agent.proc_root), str(agent.sys_root)) == ("/host/proc", "/host/sys")


def test_the_commands_of_unit_and_image_exist() -> None:
    started = Unit()["Service"]["ExecStart"].split()
    assert started[0] == INSTALLED
    health = json.loads(next(words for name, words in IMAGE if name == "HEALTHCHECK").partition("CMD ")[2])
    entry, default = (json.loads(next(w for n, w in IMAGE if n == name)) for name in ("ENTRYPOINT", "CMD"))
    assert entry == health[:3] == ["/opt/collectors/.venv/bin/python", "-m", "collectors_dagster.cli"]
    for words in (started[1:], health[3:], default):
        done = subprocess.run(
            [sys.executable, "-m", *entry[2:], *words, "--help"], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, words


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (AGENT / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {source for source, _ in copies()}
    assert copied | {"deploy/agent/requirements.txt"} == sent
    assert all((ROOT / source).exists() for source in sent)


def copies() -> list[tuple[str, str]]:
    """Return what the last stage copies from the checkout: where from and where to."""
    found = [words.split() for name, words in IMAGE if name == "COPY" and "--from" not in words]
    return [(source, target) for *sources, target in found[1:] for source in sources]


def test_the_image_exposes_the_port_of_the_settings(project: Project) -> None:
    assert [words for name, words in IMAGE if name == "EXPOSE"] == [str(load_settings().ports.agent)]


def test_the_unit_may_write_its_home_and_nothing_else() -> None:
    service = Unit()["Service"]
    assert service["ReadWritePaths"] == variables_of_unit()["COLLECTORS_HOME"]
    assert f"/var/lib/{service['StateDirectory']}" == variables_of_unit()["COLLECTORS_HOME"]
    assert f"/etc/{service['ConfigurationDirectory']}" == variables_of_unit()["COLLECTORS_CONFIG_DIR"]
    assert (service["ProtectSystem"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == (
        "strict",
        "yes",
        "",
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit_and_finds_it_well_confined(tmp_path: Path) -> None:
    unit = tmp_path / "collectors-agent.service"
    unit.write_text(UNIT.replace(INSTALLED, str(Path(sys.executable).with_name("collectors"))))
    verified = analysed("verify", "--man=no", str(unit))
    assert "collectors-agent" not in verified.stderr, verified.stderr
    unit.write_text(UNIT.replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "collectors-agent" in analysed("verify", "--man=no", str(unit)).stderr  # it would have told
    unit.write_text(UNIT)
    judged = analysed("security", "--offline=true", "--threshold=25", str(unit))  # tenths; 100 is exposed to all
    assert judged.returncode == 0, judged.stdout[-200:]


def analysed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint")
def test_hadolint_finds_nothing_in_the_image() -> None:
    done = subprocess.run(["hadolint", AGENT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_agent_needs_no_package_that_its_lock_lacks() -> None:
    program = (
        "import sys, importlib.metadata as m\n"
        "import collectors_dagster.cli.__main__, collectors_dagster.cli.agent, collectors_dagster.agent.__main__\n"
        "import collectors_dagster.config.agent_planning\n"
        "import collectors_dagster.cli.top, collectors_dagster.cli.top_source\n"
        "owners = m.packages_distributions()\n"
        "print(*sorted({o for n in list(sys.modules) for o in owners.get(n.split('.')[0], [])}))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    locked = set(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==", (AGENT / "requirements.txt").read_text(), re.MULTILINE))
    needed = {re.sub(r"[._-]+", "-", name).lower() for name in told.stdout.split()}
    own = {"collectors-dagster", "setuptools"}  # the latter only finds our editable checkout
    optional = {"attrs"}  # taken by rich if it is there
    assert needed - own - optional <= locked


def test_the_agents_lock_agrees_with_the_runtimes() -> None:
    def entries(path: Path) -> set[str]:
        return set(re.findall(r"^\S+==\S+", path.read_text(), re.MULTILINE))

    bare = {re.sub(r"\[[^]]*\]", "", entry) for entry in entries(ROOT / "requirements.txt")}
    assert {re.sub(r"\[[^]]*\]", "", entry) for entry in entries(AGENT / "requirements.txt")} <= bare
    assert "://" not in (AGENT / "requirements.txt").read_text()


def test_the_files_of_the_image_are_enough_to_sample_a_host(tmp_path: Path) -> None:
    for source, target in copies():
        at = tmp_path / target.lstrip("/")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, at, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            at.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, at)
    environment = clean_environment(
        PYTHONPATH=str(tmp_path),
        COLLECTORS_ENVIRONMENT="production",
        COLLECTORS_HOME=str(tmp_path / "home"),
        COLLECTORS_CONFIG_DIR=str(tmp_path / "etc" / "collectors"),
        COLLECTORS__PORTS__AGENT=str(free_port()),
        POSTGRES_HOST="127.0.0.1",
        POSTGRES_PORT=str(free_port()),
    )
    command = [sys.executable, "-P", "-m", "collectors_dagster.cli", "agent", "run"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    home = AgentHome(tmp_path, process=process)
    try:
        wait_until(home.runs, seconds=30, what="the agent's status")
        wait_until(lambda: home.status()["sampling"]["sweeps"] > 0, seconds=30, what="a sweep")
        told = Path(f"/proc/{process.pid}/maps")
        assert home.status()["pid"] == process.pid
        assert not told.exists() or "numpy" not in told.read_text()
    finally:
        process.terminate()
        process.wait(timeout=120)
