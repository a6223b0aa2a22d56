"""How much memory this process holds."""

import resource
from pathlib import Path

from collectors_dagster.collectors.procfs import ProcFile, natural
from collectors_dagster.errors import CollectionError

PAGE_BYTES = resource.getpagesize()


class Footprint:
    """Asks the kernel for the memory of this process; for one thread.

    Parameters
    ----------
    proc : Path
        Root of procfs.
    """

    def __init__(self, proc: Path = Path("/proc"), source: str = "agent") -> None:
        self._statm = ProcFile(proc / "self/statm", source=source, single=True)

    def resident_bytes(self) -> float:
        """Return what is resident; elsewhere than on Linux, the most that ever was."""
        try:
            return float(natural(self._statm.read().split()[1]) * PAGE_BYTES)
        except CollectionError:
            return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    def close(self) -> None:
        """Close the file."""
        self._statm.close()
