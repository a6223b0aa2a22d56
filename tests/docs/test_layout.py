"""The repository is laid out as its README says, and each top-level name resolves here and nowhere else."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["collectors_dagster", "assets", "resources", "sensors"])
def test_top_level_packages_resolve_in_this_repository(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / name / "__init__.py"


def test_every_room_has_a_docstring_that_says_what_lives_there() -> None:
    rooms = [path for path in (ROOT / "collectors_dagster").iterdir() if path.is_dir() and any(path.glob("*.py"))]
    silent = [room.name for room in rooms if not (room / "__init__.py").read_text().startswith('"""')]
    assert rooms
    assert silent == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_lock_pins_every_package_with_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    unpinned = [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
    assert unpinned == []


def test_lock_holds_every_dependency_of_the_project() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=]", line)[0].lower() for line in declared}
    locked = set(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert names - locked == set()


@pytest.mark.parametrize("target", ["help", "up", "down", "status", "logs", "test", "check", "bench", "plan"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_refuses_an_old_python_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what any Python below 3.11 answers to the version question
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "up", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "older than Python 3.11" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()
