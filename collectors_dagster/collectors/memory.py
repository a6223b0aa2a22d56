"""Memory, swap and paging: ``/proc/meminfo`` and ``/proc/vmstat``."""

from collectors_dagster.collectors.procfs import KeyedFile, ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric


def _bytes(name: str, text: str) -> Metric:
    return Metric(name, Kind.GAUGE, "bytes", text)


TOTAL = _bytes("memory_total_bytes", "Usable memory.")
AVAILABLE = _bytes("memory_available_bytes", "What could be given to programs without swapping.")
FREE = _bytes("memory_free_bytes", "Memory that holds nothing.")
CACHED = _bytes("memory_cached_bytes", "Page cache and shared memory.")
BUFFERS = _bytes("memory_buffers_bytes", "Block device buffers.")
SLAB = _bytes("memory_slab_bytes", "Kernel data structures.")
DIRTY = _bytes("memory_dirty_bytes", "Waiting to be written to disk.")
SWAP_TOTAL = _bytes("swap_total_bytes", "Swap space.")
SWAP_FREE = _bytes("swap_free_bytes", "Unused swap space.")
FAULTS = Metric("page_faults_major_total", Kind.COUNTER, "operations", "Page faults that read a disk.")
SWAP_IN = Metric("swap_in_pages_total", Kind.COUNTER, "pages", "Pages read from swap.")
SWAP_OUT = Metric("swap_out_pages_total", Kind.COUNTER, "pages", "Pages written to swap.")
OOM_KILLS = Metric("oom_kills_total", Kind.COUNTER, "operations", "Processes killed because memory ran out.")

MEMINFO = {
    b"MemTotal:": TOTAL,
    b"MemAvailable:": AVAILABLE,
    b"MemFree:": FREE,
    b"Cached:": CACHED,
    b"Buffers:": BUFFERS,
    b"Slab:": SLAB,
    b"Dirty:": DIRTY,
    b"SwapTotal:": SWAP_TOTAL,
    b"SwapFree:": SWAP_FREE,
}
VMSTAT = {b"pgmajfault": FAULTS, b"pswpin": SWAP_IN, b"pswpout": SWAP_OUT, b"oom_kill": OOM_KILLS}


@parser("memory")
def parse_meminfo(data: bytes, layout: KeyedFile) -> list[float]:
    """Return bytes for the keys of `layout`."""
    values = layout.pick(data)
    if b"MemTotal:" not in layout.present:
        raise ValueError("no MemTotal")
    return [1024.0 * value for value in values]


@parser("memory")
def parse_vmstat(data: bytes, layout: KeyedFile) -> list[float]:
    """Return events for the keys of `layout`."""
    return [float(value) for value in layout.pick(data)]


class Memory:
    """Memory, swap and paging of the kernel."""

    name = "memory"
    metrics = (*MEMINFO.values(), *VMSTAT.values())

    def __init__(self, host: Host) -> None:
        self._meminfo = ProcFile(host.proc_root / "meminfo", source=self.name, single=True)
        self._vmstat = ProcFile(host.proc_root / "vmstat", source=self.name, single=False)
        self._sizes = KeyedFile(tuple(MEMINFO))
        self._events = KeyedFile(tuple(VMSTAT))
        self._shape: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        values = parse_meminfo(self._meminfo.read(), self._sizes)
        values += parse_vmstat(self._vmstat.read(), self._events)
        shape = (self._sizes.present, self._events.present)
        if shape != self._shape:
            self._shape, self._series = shape, _series(*shape)
        return Reading(self._series, values)

    def close(self) -> None:
        """Close the files."""
        self._meminfo.close()
        self._vmstat.close()


def _series(sizes: tuple[bytes, ...], events: tuple[bytes, ...]) -> tuple[Series, ...]:
    return (*(Series(MEMINFO[key]) for key in sizes), *(Series(VMSTAT[key]) for key in events))
