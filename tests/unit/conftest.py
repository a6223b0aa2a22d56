"""Fixtures of the unit tests."""

from pathlib import Path

import pytest

from collectors_dagster.config.environment import DOCUMENT_NAMES
from collectors_dagster.config.surroundings import process_environment
from tests.support.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose settings see none of the variables of whoever runs the tests."""
    for name in list(process_environment()):
        if name.startswith("COLLECTORS_") or any(name.startswith(known) for known in DOCUMENT_NAMES):
            monkeypatch.delenv(name)
    found = Project(tmp_path)
    found.tenants.mkdir(parents=True)
    monkeypatch.setenv("COLLECTORS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("COLLECTORS_HOME", str(tmp_path / "home"))
    return found
