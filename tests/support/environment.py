"""The caller's environment. Processes under test start from it, without the caller's configuration."""

import os


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without what configures this project or Dagster, plus `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLLECTORS", "DAGSTER"))}
    return kept | more


def told(name: str) -> str | None:
    """Return what the caller tells the tests by a variable."""
    return os.environ.get(name) or None
