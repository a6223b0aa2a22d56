"""A process that runs on the machine's own clock follows its files within five seconds."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.patience import patient

FOLLOWER = """
import json
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.settings_watcher import SettingsWatcher
from collectors_dagster.config.tenants import TenantWatcher

clock = SystemClock()
tenants, settings, told = TenantWatcher(load_settings(), clock), SettingsWatcher(load_settings(), clock), None
while True:
    found = tenants.current()
    state = {"tenants": [each.name for each in found.tenants], "problems": found.problems,
             "level": settings.current().log.level}
    if state != told:
        told = state
        print(json.dumps(state), flush=True)
    clock.sleep(0.2)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "config"
    (found / "tenants").mkdir(parents=True)
    (found / "tenants" / "acme.yml").write_text("id: acme\nname: Before\n")
    monkeypatch.setenv("COLLECTORS_CONFIG_DIR", str(found))
    monkeypatch.setenv("COLLECTORS_HOME", str(tmp_path / "home"))
    return found


@pytest.fixture
def follower(config: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    process = subprocess.Popen([sys.executable, "-c", FOLLOWER], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    output: IO[str] = process.stdout

    def next_state() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(output.readline())
        return found

    yield next_state
    process.kill()
    process.communicate()


def test_changes_are_followed_within_five_seconds(config: Path, follower: Callable[[], dict[str, Any]]) -> None:
    assert follower()["tenants"] == ["Before"]

    def replaced(name: str, text: str) -> dict[str, Any]:
        new = config / f"{name}.new~"
        new.write_text(text)
        new.rename(config / name)
        started = time.monotonic()
        state = follower()
        assert time.monotonic() - started < patient(5)
        return state

    assert replaced("tenants/acme.yml", "id: acme\nname: Atomic\n")["tenants"] == ["Atomic"]

    bad = replaced("tenants/acme.yml", "id: acme\nname: [\n")
    assert bad["tenants"] == ["Atomic"]
    assert "config/tenants/acme.yml:3: is malformed YAML" in bad["problems"][0]

    assert replaced("tenants/acme.yml", "id: acme\nname: Repaired\n")["problems"] == []
    assert replaced("tenants/bolt.yml", "id: bolt\nname: Bolt\n")["tenants"] == ["Repaired", "Bolt"]
    assert replaced("base.yml", "log: {level: debug}\n")["level"] == "debug"
