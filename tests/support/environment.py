"""The caller's environment without the caller's configuration: processes under test start from it."""

import os


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without what configures this project or Dagster, plus `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLLECTORS", "DAGSTER"))}
    return kept | more
