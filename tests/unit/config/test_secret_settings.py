"""No secret leaves the settings by accident: not printed, not dumped, not in an error."""

import json
import logging
import traceback
from pathlib import Path

import pytest

from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

CANARY = "canary-7f3a9c"

SECRETS = {
    "POSTGRES_PASSWORD": ("postgres", "password"),
    "REDIS_PASSWORD": ("redis", "password"),
    "SPOTIFY_CLIENT_SECRET": ("spotify", "client_secret"),
    "COLLECTORS__POSTGRES__PASSWORD": ("postgres", "password"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_shown_by_no_representation(project: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, CANARY)
    settings = load_settings()
    shown = [repr(settings), str(settings), f"{settings.postgres} {settings.redis} {settings.spotify}"]
    shown += [settings.model_dump_json(), json.dumps(settings.model_dump(), default=str)]
    shown += [logging.LogRecord("n", 20, "p", 1, "%s", (settings,), None).getMessage()]
    assert CANARY not in "\n".join(shown)
    assert settings.secret_values() == (CANARY,)


@pytest.mark.parametrize("name", SECRETS)
def test_secret_can_be_read_from_a_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    assert load_settings().secret_values() == (CANARY,)


def test_secret_given_twice_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    monkeypatch.setenv("POSTGRES_PASSWORD", CANARY)
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match="POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE") as caught:
        load_settings()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "UTF-8")]
)
def test_secret_file_that_holds_none_is_refused_by_name(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match=f"REDIS_PASSWORD_FILE: the file .*{expected}"):
        load_settings()


LEAKY_FILES = [
    f"postgres:\n  password: [{CANARY}]\n",
    f"postgres:\n  password:\n    {CANARY}: {CANARY}\n",
    f"postgres: {CANARY}\n",
    f"postgres:\n  password: *{CANARY}\n",
    f"postgres:\n  password: !{CANARY}\n",
    f"postgres:\n  password: &{CANARY}\n    - 1\n",
    f"postgres:\n  password: '{CANARY}\n",
    f"postgres:\n  password: a: {CANARY}\n",
    f"postgres:\n  password: @{CANARY}\n",
    f"postgres:\n  passwort: {CANARY}\n",
    f"postgres:\n  - {CANARY}\n",
    f"grafana_url: https://me:{CANARY}@host\n",
    f"mlflow:\n  tracking_uri: https://me:{CANARY}@host\n",
    f"prometheus_pushgateway: me:{CANARY}@host:9091\n",
    f"postgres:\n  host: me:{CANARY}@host\n",
]


@pytest.mark.parametrize("text", LEAKY_FILES)
def test_misplaced_secret_is_not_repeated_by_the_error(project: Project, text: str) -> None:
    project.write("config/base.yml", text)
    with pytest.raises(ConfigurationError, match=r"config/base.yml") as caught:
        load_settings()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_section_given_as_a_plain_variable_is_not_repeated(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS__POSTGRES", CANARY)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_addresses_with_passwords_are_secrets_themselves(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "db.example")
    monkeypatch.setenv("POSTGRES_PASSWORD", CANARY)
    monkeypatch.setenv("REDIS_HOST", "redis.example")
    monkeypatch.setenv("REDIS_PASSWORD", CANARY)
    settings = load_settings()
    urls = (settings.database_conninfo(), settings.sqlalchemy_url("dagster"), settings.redis_url())
    assert CANARY not in f"{urls} {urls!r}"
    assert all(CANARY in url.get_secret_value() for url in urls)


def test_settings_keep_the_command_line_to_themselves(project: Project) -> None:
    settings = load_settings(postgres={"password": CANARY})
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())
    assert settings.reload() == settings
