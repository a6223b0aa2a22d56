from itertools import product
from pathlib import Path
from typing import Any

import pytest

from collectors_dagster.config import load_settings
from collectors_dagster.config.environment import DOCUMENT_NAMES, variable_for
from collectors_dagster.config.fields import allowed, bare_type, leaves, unit_of
from collectors_dagster.config.policy_sections import ServiceOverrides
from collectors_dagster.config.settings import PROJECT_ROOT, Settings
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

LAYERS = ("base file", "environment file", "document name", "prefixed variable", "command line")


@pytest.mark.parametrize("present", list(product([False, True], repeat=len(LAYERS))))
def test_strongest_layer_wins_whatever_else_is_set(
    project: Project, monkeypatch: pytest.MonkeyPatch, present: tuple[bool, ...]
) -> None:
    if present[0]:
        project.write("config/base.yml", "redis: {port: 1}")
    if present[1]:
        project.write("config/staging.yml", "redis: {port: 2}")
    if present[2]:
        monkeypatch.setenv("REDIS_PORT", "3")
    if present[3]:
        monkeypatch.setenv("COLLECTORS__REDIS__PORT", "4")
    overrides = {"redis": {"port": 5}} if present[4] else {}

    strongest = max((level for level, there in enumerate(present, start=1) if there), default=6379)
    assert load_settings(environment="staging", **overrides).redis.port == strongest


def test_layers_are_merged_key_by_key(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("config/base.yml", "patterns: {rate_limiter: {burst_size: 7, requests_per_second: 2}}")
    project.write("config/development.yml", "patterns: {rate_limiter: {burst_size: 8}}")
    monkeypatch.setenv("COLLECTORS__PATTERNS__CIRCUIT_BREAKER__FAILURE_THRESHOLD", "9")

    patterns = load_settings().patterns
    assert patterns.rate_limiter.burst_size == 8
    assert patterns.rate_limiter.requests_per_second == 2
    assert patterns.circuit_breaker.failure_threshold == 9


@pytest.mark.parametrize("name", DOCUMENT_NAMES)
def test_every_name_of_the_original_document_works(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    value = "1234" if name.endswith("PORT") else "http://there:9" if name == "GRAFANA_URL" else "something"
    monkeypatch.setenv(name, value)
    found: object = load_settings()
    for step in DOCUMENT_NAMES[name]:
        found = getattr(found, step)
    shown = getattr(found, "get_secret_value", lambda: str(found))()
    assert shown == ("http://something" if name == "PROMETHEUS_PUSHGATEWAY" else value)


@pytest.mark.parametrize(
    "path", [path for path, field in leaves(Settings) if field.default is not None and path != ("home",)]
)
def test_every_setting_can_be_set_by_its_variable(
    project: Project, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    path = tuple({"<name>": "timescaledb" if "services" in path else "agent"}.get(step, step) for step in path)
    default = _value(load_settings(), path)
    monkeypatch.setenv(variable_for(path), ",".join(default) if isinstance(default, tuple) else str(default))
    assert _value(load_settings(), path) == default
    monkeypatch.setenv(variable_for(path), "@ not ok @")
    with pytest.raises(ConfigurationError, match=rf"variable {variable_for(path)}: |no such directory"):
        load_settings()


def _value(settings: Settings, path: tuple[str, ...]) -> object:
    found: Any = settings
    for step in path:
        if found is settings.debug.components:
            found = settings.debug.of(step)
        elif found is settings.patterns.services:
            found = settings.patterns.services.get("timescaledb", ServiceOverrides())
        else:
            found = getattr(found, step)
    return found


def test_every_setting_says_what_it_means_and_allows() -> None:
    for path, field in leaves(Settings):
        assert field.description, path
        assert field.description.endswith("."), path
        assert allowed(field), path


def test_every_number_has_a_range_and_a_unit() -> None:
    numbers = [(path, field) for path, field in leaves(Settings) if bare_type(field.annotation) in (int, float)]
    assert numbers
    for path, field in numbers:
        assert " to " in allowed(field), path
        assert unit_of(field), path


@pytest.mark.parametrize(
    ("line", "environment"),
    [("redis: {port: 2}", "development"), ("redis: {port: 3}", "staging"), ("redis: {port: 4}", "production")],
)
def test_environment_chooses_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, line: str, environment: str
) -> None:
    for port, name in enumerate(("development", "staging", "production"), start=2):
        project.write(f"config/{name}.yml", f"redis: {{port: {port}}}")
    monkeypatch.setenv("COLLECTORS_ENVIRONMENT", environment)
    assert f"redis: {{port: {load_settings().redis.port}}}" == line


def test_long_variable_of_the_environment_chooses_the_file_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("config/staging.yml", "redis: {port: 3}")
    monkeypatch.setenv("COLLECTORS__ENVIRONMENT", "staging")
    assert load_settings().redis.port == 3


def test_dotenv_file_is_read_below_the_process_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(".env", "REDIS_HOST=from-dotenv\nPOSTGRES_HOST=from-dotenv\n# COMMENT=1\n")
    monkeypatch.setenv("REDIS_HOST", "from-process")
    settings = load_settings()
    assert (settings.redis.host, settings.postgres.host) == ("from-process", "from-dotenv")


def test_dotenv_file_cannot_move_the_directory_it_lies_beside(project: Project) -> None:
    project.write(".env", "COLLECTORS_CONFIG_DIR=/elsewhere\n")
    with pytest.raises(ConfigurationError, match="decides where this very file lies"):
        load_settings()


@pytest.mark.parametrize("key", ["environment", "config_dir"])
def test_file_cannot_decide_which_files_are_read(project: Project, key: str) -> None:
    project.write("config/base.yml", f"redis: {{port: 1}}\n{key}: staging\n")
    with pytest.raises(ConfigurationError, match=rf"config/base.yml:2: {key} .* COLLECTORS_{key.upper()}"):
        load_settings()


def test_set_but_empty_variable_counts_as_not_set(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "")
    monkeypatch.setenv("POSTGRES_PORT", " ")
    assert load_settings().postgres_embedded


def test_port_link_that_kubernetes_plants_is_not_taken_for_a_port(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.7:6379")
    assert load_settings().redis.port == 6379


def test_section_may_come_as_one_json_variable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS__PATTERNS__RATE_LIMITER", '{"burst_size": 3}')
    monkeypatch.setenv("COLLECTORS__PATTERNS__RATE_LIMITER__REQUESTS_PER_SECOND", "4")
    limiter = load_settings().patterns.rate_limiter
    assert (limiter.burst_size, limiter.requests_per_second) == (3, 4)


def test_debug_of_one_component_can_be_set_by_a_variable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS__DEBUG__COMPONENTS__SCORER__PROFILE", "true")
    debug = load_settings().debug
    assert debug.of("scorer").profile
    assert not debug.of("agent").profile


def test_section_with_all_keys_commented_out_keeps_the_weaker_layers(project: Project) -> None:
    project.write("config/base.yml", "ports:\n  redis: 1\ndebug:\n")
    project.write("config/development.yml", "ports:\n  # redis: 2\npatterns:\n  rate_limiter:\n")
    assert load_settings().ports.redis == 1


def test_null_in_a_stronger_file_takes_a_value_back(project: Project) -> None:
    project.write("config/base.yml", "redis: {host: far}")
    project.write("config/development.yml", "redis: {host: null}")
    assert load_settings().redis_embedded


def test_relative_directories_start_at_the_checkout(project: Project) -> None:
    assert load_settings(home="somewhere/else").home == PROJECT_ROOT / "somewhere" / "else"
    assert load_settings(home="~/x").home == Path.home() / "x"


def test_shipped_files_are_valid_for_each_environment(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    for environment in ("development", "staging", "production"):
        settings = load_settings(environment=environment, config_dir=PROJECT_ROOT / "config")
        assert settings.environment == environment


def test_keys_of_the_original_document_are_in_the_shipped_base_file(project: Project) -> None:
    settings = load_settings(config_dir=PROJECT_ROOT / "config")
    performance = settings.collectors.system_performance
    assert (performance.enabled, performance.collection_interval, performance.ml_enabled) == (True, 10, True)
    assert performance.anomaly_threshold == 0.9
    assert settings.patterns.circuit_breaker.failure_threshold == 5
