"""Commands run in this process, on a database and a home of the test's own."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr


def point_settings_at(database: SecretStr, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let settings name this database and a new home and configuration in `home`; return the configuration's folder."""
    url = urlsplit(database.get_secret_value())
    names = {"HOST": url.hostname, "PORT": url.port, "DB": url.path[1:], "USER": url.username, "PASSWORD": url.password}
    for name, value in names.items():
        monkeypatch.setenv(f"POSTGRES_{name}", str(value))
    config = home / "config"
    config.mkdir()
    monkeypatch.setenv("COLLECTORS_HOME", str(home / "home"))
    monkeypatch.setenv("COLLECTORS_CONFIG_DIR", str(config))
    return config
