"""Dagster's instance of the local stack: its files, and the variables that they refer to."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from collectors_dagster.config import Settings
from collectors_dagster.config.files import write_atomically
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.supervisor.database_sessions import libpq_environment


def render_dagster_home(settings: Settings) -> Path:
    """Write ``dagster.yaml`` (the project's own) and a workspace of one shared code server; return the directory.

    Passwords stay out of both: they refer to variables.
    """
    directory = settings.home / "dagster"
    directory.mkdir(exist_ok=True)
    write_atomically(directory / "dagster.yaml", (PROJECT_ROOT / "dagster.yaml").read_bytes())
    write_atomically(directory / "workspace.yaml", _workspace(settings).encode())
    return directory


def dagster_environment(settings: Settings, name: str) -> dict[str, str]:
    """Return the variables of a process that opens Dagster's instance.

    Parameters
    ----------
    name : str
        Under which its connections, and those of processes that it starts, are seen in the database.
    """
    url = urlsplit(settings.database_conninfo("dagster").get_secret_value())
    return {
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "DAGSTER_PG_HOST": unquote(url.hostname or ""),
        "DAGSTER_PG_PORT": str(url.port or 5432),
        "DAGSTER_PG_USER": unquote(url.username or ""),
        "DAGSTER_PG_PASSWORD": unquote(url.password or ""),
        "DAGSTER_PG_DB": url.path.lstrip("/"),
        **libpq_environment(settings, name),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EVENT_BATCH_SIZE": "200",  # a batch's materialisations in few statements: half the cost per tenant
        "PYTHONDONTWRITEBYTECODE": "",  # every run is a fresh process: without .pyc files it compiles everything anew
        "MALLOC_ARENA_MAX": "2",  # glibc keeps an arena per thread, and these processes have many
    }


def _workspace(settings: Settings) -> str:
    server = {
        "host": settings.local_address,
        "port": settings.ports.code_server,
        "location_name": "collectors_dagster",
    }
    return yaml.safe_dump({"load_from": [{"grpc_server": server}]})
