"""Memory and swap through psutil."""

import psutil

from collectors_dagster.collectors.memory import (
    ACTIVE,
    AVAILABLE,
    BUFFERS,
    FREE,
    INACTIVE,
    SHARED,
    SLAB,
    SWAP_FREE,
    SWAP_TOTAL,
    TOTAL,
)
from collectors_dagster.collectors.protocol import Host, Reading, Series

# psutil's "cached" counts reclaimable slab too: another quantity, so it is left out.
FIELDS = {
    "total": TOTAL,
    "available": AVAILABLE,
    "free": FREE,
    "active": ACTIVE,
    "inactive": INACTIVE,
    "buffers": BUFFERS,
    "shared": SHARED,
    "slab": SLAB,
}


def resident_bytes() -> float:
    """Return the memory of this process that is resident."""
    return float(psutil.Process().memory_info().rss)


class PortableMemory:
    """Memory and swap, for the kinds that the platform knows."""

    name = "memory"
    metrics = (*FIELDS.values(), SWAP_TOTAL, SWAP_FREE)

    def __init__(self, host: Host) -> None:
        known = psutil.virtual_memory()._asdict()
        self._fields = tuple(name for name in FIELDS if name in known)
        kinds = tuple(FIELDS[name] for name in self._fields)
        self._series = tuple(Series(metric) for metric in (*kinds, SWAP_TOTAL, SWAP_FREE))

    def read(self) -> Reading:
        """Return the present values."""
        memory, swap = psutil.virtual_memory()._asdict(), psutil.swap_memory()
        return Reading(self._series, [*(memory[name] for name in self._fields), swap.total, swap.free])

    def close(self) -> None:
        """Nothing is held."""
