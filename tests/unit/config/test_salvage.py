"""What is left of broken settings is enough to look with, and says what is wrong."""

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.config import load_settings
from collectors_dagster.config.salvage import salvage_settings
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

GOOD = {"home": "/data", "log": {"level": "debug", "backups": 1}, "ports": {"webserver": 8080}}


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose home stands in its files."""
    monkeypatch.delenv("COLLECTORS_HOME")
    return project


def test_whole_settings_are_what_they_are(project: Project) -> None:
    project.write("config/base.yml", yaml.safe_dump(GOOD))
    found = salvage_settings()
    assert (found.settings, found.problems) == (load_settings(), ())


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("prots: {webserver: 1}", "prots is not a known key; did you mean ports?"),
        ("agent: {sample_interval_seconds: never}", "agent.sample_interval_seconds = 'never' is refused"),
        ("'[key]': 1", "[key] is not a known key"),
        ("retention: [", "is malformed YAML"),
        ("retention:\n  raw_days: 3\n  raw_days: 4", "the key 'raw_days' is written twice"),
        ("environment: staging", "environment decides which files are read"),
    ],
)
def test_a_broken_part_leaves_the_others(project: Project, broken: str, problem: str) -> None:
    project.write("config/development.yml", f"{broken}\n{yaml.safe_dump(GOOD)}")
    found = salvage_settings()
    assert [line for line in found.problems if line.startswith("config/development.yml:") and problem in line]
    kept = found.settings
    assert (str(kept.home), kept.log.level, kept.ports.webserver) == ("/data", "debug", 8080)


def test_a_refused_value_gives_way_to_the_one_below_it(project: Project) -> None:
    project.write("config/base.yml", "log: {level: warning, backups: 7}\n")
    project.write("config/development.yml", "log: {level: loud, max_bytes: 20000}\n")
    kept = salvage_settings().settings.log
    assert (kept.level, kept.backups, kept.max_bytes) == ("warning", 7, 20_000)


def test_a_group_whose_values_contradict_each_other_falls_back_as_a_whole(project: Project) -> None:
    project.write("config/base.yml", "home: /data\nports: {redis: 4000, mlflow: 4000}\n")
    found = salvage_settings()
    assert "redis and mlflow have the same port" in found.problems[0]
    assert (str(found.settings.home), found.settings.ports.redis) == ("/data", 16379)


def test_a_variable_that_is_refused_is_told_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("config/base.yml", "ports: {mlflow: 4000}\n")
    monkeypatch.setenv("COLLECTORS__PORTS__MLFLOW", "four")
    found = salvage_settings()
    assert "COLLECTORS__PORTS__MLFLOW" in found.problems[0]
    assert found.settings.ports.mlflow == 4000


def test_a_missing_directory_of_settings_is_no_typo(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS_CONFIG_DIR", str(project.root / "nowhere"))
    with pytest.raises(ConfigurationError, match="COLLECTORS_CONFIG_DIR"):
        salvage_settings()


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=5
)
_KEYS = st.sampled_from(["log", "ports", "debug", "postgres", "bind_address", "grafana_url", "agent"]) | st.text()


@given(document=st.dictionaries(_KEYS, _VALUES, max_size=4), cut=st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_stands_in_a_file_the_home_above_it_is_found(
    project: Project, document: dict[str, Any], cut: int
) -> None:
    document.pop("home", None)
    text = yaml.safe_dump(document, allow_unicode=True)
    project.write("config/base.yml", f"home: /data\n{text[: len(text) - cut]}\n")
    assert str(salvage_settings().settings.home) == "/data"
