"""The one place that reads the environment of the process."""

import os
from collections.abc import Mapping


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ
