import pytest

from collectors_dagster.config import load_settings
from collectors_dagster.config.command_line import as_variables
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project


def test_assignments_win_over_files_and_variables(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("config/base.yml", "ports: {redis: 1, mlflow: 2}\n")
    monkeypatch.setenv("COLLECTORS__PORTS", '{"redis": 3}')
    monkeypatch.setenv("COLLECTORS__PORTS__MLFLOW", "4")
    variables = as_variables(["ports.redis=5", "ports.mlflow=6", "environment=staging", "home=/tmp/here"])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.ports.redis, settings.ports.mlflow) == (5, 6)
    assert (settings.environment, str(settings.home)) == ("staging", "/tmp/here")


REFUSED = [
    ("ports.redis", "key=value"),
    ("postgres.host=", "key=value"),
    ("ports.reddis=1", "did you mean ports.redis?"),
    ("redis=1", "there is no such setting"),
    ("=1", "there is no such setting"),
    ("ports=1", "there is no such setting"),
    ('postgres={"password": "canary"}', "there is no such setting"),
    ("postgres.password=canary", "COLLECTORS__POSTGRES__PASSWORD_FILE"),
]


@pytest.mark.parametrize(("assignment", "expected"), REFUSED)
def test_wrong_assignment_is_refused(assignment: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        as_variables([assignment])
    assert expected in str(caught.value)
    assert "canary" not in str(caught.value)
