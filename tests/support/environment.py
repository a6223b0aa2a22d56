"""The caller's environment. Processes under test start from it, without the caller's configuration."""

import os


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without what configures this project, Dagster or make, plus `more`."""
    left_out = ("COLLECTORS", "DAGSTER", "MAKE", "MFLAGS", "ARGS")  # a `make` in a test is not a part of ours
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | more


def told(name: str) -> str | None:
    """Return what the caller tells the tests by a variable."""
    return os.environ.get(name) or None
