"""Load averages through psutil (which emulates them on Windows)."""

import psutil

from collectors_dagster.collectors.load import METRICS, SERIES
from collectors_dagster.collectors.protocol import Host, Reading


class PortableLoad:
    """Load averages."""

    name = "load"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        self._load = psutil.getloadavg

    def read(self) -> Reading:
        """Return the present values."""
        return Reading(SERIES, self._load())

    def close(self) -> None:
        """Nothing is held."""
