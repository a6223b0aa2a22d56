"""A directory of settings and tenants of a test's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors_dagster.config import Settings, load_settings

ACME = "id: acme\nname: Acme\nalerts: []\n"


@dataclass(frozen=True)
class Project:
    """A checkout's configuration in a temporary directory."""

    root: Path

    @property
    def tenants(self) -> Path:
        return self.root / "config" / "tenants"

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file below the root, over what is there."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def replace(self, name: str, text: str) -> None:
        """Replace a file atomically, as editors and deployment tools do."""
        self.write(f"{name}.new~", text).rename(self.root / name)

    def settings(self, **overrides: Any) -> Settings:
        return load_settings(**overrides)
