"""Boot time through psutil, and steps of wall time."""

import psutil

from collectors_dagster.collectors.clock import BOOT, BOOT_REFRESH_SECONDS, STEP, Steps
from collectors_dagster.collectors.parts import Slowly
from collectors_dagster.collectors.protocol import Host, Reading, Series

SERIES = (Series(STEP), Series(BOOT))


class PortableClock:
    """What can be told of a clock without the kernel."""

    name = "clock"
    interval_seconds = 5.0
    metrics = (STEP, BOOT)

    def __init__(self, host: Host) -> None:
        self._steps = Steps(host.clock)
        self._boot = Slowly(psutil.boot_time, host.clock, BOOT_REFRESH_SECONDS)

    def read(self) -> Reading:
        """Return the present values."""
        return Reading(SERIES, (self._steps.step(), self._boot()))

    def close(self) -> None:
        """Nothing is held."""
