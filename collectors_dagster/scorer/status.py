"""What the scorer says of itself, in a file for ``collectors status``."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collectors_dagster import __version__
from collectors_dagster.config import Settings
from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import StartupError


def status_path(settings: Settings) -> Path:
    """Return the file in which the scorer of this home tells how it is."""
    return settings.home / "run" / "scorer.json"


def write_status(path: Path, status: Mapping[str, Any]) -> None:
    """Publish a status, seen whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"version": __version__, "pid": os.getpid(), **status}, indent=1).encode())


def read_status(path: Path) -> dict[str, Any]:
    """Return the latest status.

    Raises
    ------
    StartupError
        If there is none: no scorer ever ran with this home.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StartupError(
            f"no scorer has run here: {path} does not exist; start one with `collectors scorer run`"
        ) from None
    return content
