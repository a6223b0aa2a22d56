"""How much memory this process holds."""

import mmap
from pathlib import Path

from collectors_dagster.collectors.procfs import ProcFile, natural
from collectors_dagster.errors import CollectionError


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
        """Return what is resident."""
        try:
            return float(natural(self._statm.read().split()[1]) * mmap.PAGESIZE)
        except CollectionError:
            from collectors_dagster.collectors.portable.memory import resident_bytes  # noqa: PLC0415 - large on Linux

            return resident_bytes()

    def close(self) -> None:
        """Close the file."""
        self._statm.close()
