import pytest

from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

BAD_FILES: dict[str, tuple[str | bytes, list[str]]] = {
    "unknown key": (
        "log:\n  level: info\npatterns:\n  rate_limiter:\n    burst_sise: 5\n",
        ["config/base.yml:5: patterns.rate_limiter.burst_sise", "did you mean burst_size?", "requests_per_second"],
    ),
    "unknown section": ("\ncollector: {}\n", ["config/base.yml:2: collector ", "did you mean collectors?", "ports"]),
    "unknown key unlike any": ("ports: {xyzzy: 1}", ["config/base.yml:1: ports.xyzzy", "code_server, metrics, mlflow"]),
    "negative interval": (
        "collectors:\n  system_performance:\n    collection_interval: -5\n",
        [
            "config/base.yml:3: collectors.system_performance.collection_interval = -5 is refused",
            "1 to 3,600 (seconds)",
        ],
    ),
    "infinite interval": ("agent:\n  sample_interval_seconds: .inf\n", ["config/base.yml:2: ", "0.1 to 60 (seconds)"]),
    "no number": ("agent:\n  sample_interval_seconds: .nan\n", ["config/base.yml:2: ", "0.1 to 60 (seconds)"]),
    "unit in the value": ("retention:\n  raw_days: 7d\n", ["config/base.yml:2: retention.raw_days = '7d'", "(days)"]),
    "switch for a number": ("ports:\n  redis: yes\n", ["config/base.yml:2: ports.redis = True", "no numbers"]),
    "part of a port": ("ports:\n  redis: 1.5\n", ["config/base.yml:2: ports.redis = 1.5", "a whole number"]),
    "port out of range": ("ports: {redis: 70000}", ["ports.redis = 70000", "1 to 65,535 (port)"]),
    "port twice": ("ports: {redis: 1, mlflow: 1}", ["config/base.yml:1: ports", "redis and mlflow", "same port 1"]),
    "threshold of one and a half": (
        "collectors: {system_performance: {anomaly_threshold: 1.5}}",
        ["anomaly_threshold = 1.5", "0.5 to 1 (score)"],
    ),
    "level unknown": (
        "log:\n  level: loud\n",
        ["config/base.yml:2: log.level = 'loud'", "debug, info, warning, error"],
    ),
    "component unknown": (
        "debug:\n  components:\n    scorr: {profile: true}\n",
        ["config/base.yml:3: debug.components.scorr", "did you mean scorer?", "agent, scorer"],
    ),
    "switch unknown": (
        "debug:\n  components:\n    scorer: {profil: true}\n",
        ["config/base.yml:3: debug.components.scorer.profil", "did you mean profile?"],
    ),
    "section is a text": ("ports: many\n", ["config/base.yml:1: ports is refused", "a mapping with the keys postgres"]),
    "host with a query": ("postgres:\n  host: a?b=c\n", ["config/base.yml:2: postgres.host = 'a?b=c'", "host name"]),
    "database with a quote": ('postgres:\n  db: "a\'b"\n', ["config/base.yml:2: postgres.db", "letters, digits"]),
    "address without scheme": ("grafana_url: here\n", ["config/base.yml:1: grafana_url = 'here'", "https://host"]),
    "address that is code": ("grafana_url: 'javascript:alert(1)'\n", ["grafana_url", "https://host"]),
    "tabs": ("log:\n\tlevel: info\n", ["config/base.yml:2: is malformed YAML", "indentation"]),
    "open quote": ("log:\n  level: 'info\n", ["config/base.yml:3: is malformed YAML", "quotes"]),
    "open bracket": ("ports: {redis: 1\n", ["config/base.yml:2: is malformed YAML"]),
    "two documents": ("log: {}\n---\nlog: {}\n", ["config/base.yml:2: is malformed YAML"]),
    "key twice": ("log: {}\nports: {}\nlog: {}\n", ["config/base.yml:3: the key 'log' is written twice"]),
    "key that is a number": ("1: 2\n", ["config/base.yml:1: a key must be plain text"]),
    "list": ("- log\n", ["config/base.yml:1: must be a mapping"]),
    "date out of the calendar": ("grafana_url: 2026-99-99\n", ["config/base.yml: holds a value"]),
    "python object": ("log: !!python/object/apply:os.system [true]\n", ["config/base.yml:1: is malformed YAML"]),
    "bytes": (b"\xff\xfe\x00", ["config/base.yml: is not UTF-8 text"]),
    "control characters": (b"log: \x07\n", ["config/base.yml: is malformed YAML"]),
    "huge": ("# " + "x" * 300_000, ["config/base.yml: is larger than"]),
    "nested one level too deep": ("log:\n  " + "[" * 16 + "]" * 16, ["config/base.yml:2: is nested deeper than 16"]),
    "nested until a parser crashes": ("[" * 250_000, ["config/base.yml:1: is nested deeper"]),
    "many copies of copies": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)),
        ["config/base.yml"],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_refused_with_place_key_and_remedy(project: Project, case: str) -> None:
    text, expected = BAD_FILES[case]
    project.write("config/base.yml", text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    for part in expected:
        assert part in str(caught.value)
    assert caught.value.__context__ is None, "pydantic's error would repeat the values"


BAD_VARIABLES = [
    ("COLLECTORS__PORTS__REDIS", "abc", "ports.redis = 'abc'"),
    ("COLLECTORS__PORTS__REDDIS", "1", "did you mean redis?"),
    ("COLLECTORS__PORT__REDIS", "1", "did you mean ports?"),
    ("COLLECTORS__PORTS__REDIS__X", "1", "ports.redis"),
    ("COLLECTORS_ENVIRONMENT", "prod", "one of development, staging, production"),
    ("REDIS_PORT", "0", "1 to 65,535 (port)"),
    ("GRAFANA_URL", "ftp://x", "https://host"),
    ("PROMETHEUS_PUSHGATEWAY", "a b", "https://host"),
    ("COLLECTORS__AGENT__PROC_ROOT", "host/proc", "an absolute path, e.g. /host/proc"),
    ("COLLECTORS__AGENT__ENDPOINT_ADDRESS", "/run/socket", "a host name or an IP address"),
    ("COLLECTORS__AGENT__ENDPOINT_ADDRESS", "a b", "a host name or an IP address"),
    ("COLLECTORS__PORTS", "[1", "must be JSON, a mapping with the keys"),
    ("COLLECTORS__PORTS", "7", "a mapping with the keys"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_VARIABLES)
def test_bad_variable_is_refused_by_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert f"environment variable {name}" in str(caught.value)
    assert expected in str(caught.value)


def test_bad_override_is_refused_as_of_the_command_line(project: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"^command line: ports.redis = -1 is refused"):
        load_settings(ports={"redis": -1})


def test_all_problems_are_told_at_once(project: Project) -> None:
    project.write("config/base.yml", "ports:\n  redis: -1\n")
    project.write("config/development.yml", "log:\n  level: loud\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).count("\n") == 1
    assert "config/base.yml:2" in str(caught.value)
    assert "config/development.yml:2" in str(caught.value)


def test_place_named_is_where_the_winning_value_is_written(project: Project) -> None:
    project.write("config/base.yml", "\nports:\n  redis: -1\n")
    project.write("config/development.yml", "ports: {redis: -2}\n")
    with pytest.raises(ConfigurationError, match=r"^config/development.yml:1: ports.redis = -2"):
        load_settings()


def test_missing_directory_of_settings_is_refused_with_the_remedy(project: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere: there is no such directory .*COLLECTORS_CONFIG_DIR"):
        load_settings(config_dir="/nowhere")


def test_variable_twice_by_two_names_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS_HOME", "/a")
    monkeypatch.setenv("COLLECTORS__HOME", "/b")
    with pytest.raises(ConfigurationError, match="COLLECTORS_HOME and COLLECTORS__HOME set the same thing"):
        load_settings()


def test_settings_cannot_be_changed(project: Project) -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.bind_address = "0.0.0.0"  # type: ignore[misc]  # that is the promise
    with pytest.raises(ValueError, match="frozen"):
        settings.ports.redis = 1  # type: ignore[misc]  # that is the promise
