"""Memory, swap and paging: ``/proc/meminfo`` and ``/proc/vmstat``."""

from dataclasses import replace

from collectors_dagster.collectors.parts import Parts, Picked
from collectors_dagster.collectors.procfs import KeyedFile, ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Series
from collectors_dagster.samples import Kind, Metric

USAGE = "system.memory.usage"
SWAP_USAGE = "system.paging.usage"


ALWAYS = frozenset(
    {
        *("MemTotal", "MemAvailable", "MemFree", "Cached", "Buffers", "Slab", "Dirty", "AnonPages", "Shmem"),
        *("SwapTotal", "SwapFree", "pgmajfault", "pswpin", "pswpout", "oom_kill"),
    }
)
"""What is stored for every tenant, by the kernel's names; the rest is detail."""


def _bytes(name: str, text: str, key: str, otel: str | None = None) -> Metric:
    foreign = f"node_memory_{key}_bytes"
    return Metric(name, Kind.GAUGE, "bytes", text, detail=key not in ALWAYS, exporter=foreign, otel=otel)


def _pages(name: str, text: str, key: str, otel: str) -> Metric:
    otel = f"system.memory.linux.hugepages.{otel}"
    return Metric(name, Kind.GAUGE, "pages", text, detail=True, exporter=f"node_memory_{key}", otel=otel)


def _counter(name: str, unit: str, text: str, key: str, otel: str | None = None) -> Metric:
    foreign = f"node_vmstat_{key}"
    return Metric(name, Kind.COUNTER, unit, text, detail=key not in ALWAYS, exporter=foreign, otel=otel)


TOTAL = _bytes("memory_total_bytes", "Usable memory.", "MemTotal", "system.memory.limit")
AVAILABLE = _bytes(
    "memory_available_bytes",
    "What could be given to programs without swapping.",
    "MemAvailable",
    "system.memory.linux.available",
)
FREE = _bytes("memory_free_bytes", "Memory that holds nothing.", "MemFree", USAGE)
CACHED = _bytes("memory_cached_bytes", "Page cache and shared memory.", "Cached", USAGE)
BUFFERS = _bytes("memory_buffers_bytes", "Block device buffers.", "Buffers", USAGE)
SLAB = _bytes("memory_slab_bytes", "Kernel data structures.", "Slab", "system.memory.linux.slab.usage")
SLAB_RECLAIMABLE = _bytes(
    "memory_slab_reclaimable_bytes",
    "Kernel data structures that can be given back, e.g. cached names of files.",
    "SReclaimable",
    "system.memory.linux.slab.usage",
)
SLAB_UNRECLAIMABLE = _bytes(
    "memory_slab_unreclaimable_bytes",
    "Kernel data structures that cannot be given back.",
    "SUnreclaim",
    "system.memory.linux.slab.usage",
)
DIRTY = _bytes("memory_dirty_bytes", "Waiting to be written to disk.", "Dirty")
WRITEBACK = _bytes("memory_writeback_bytes", "Being written to disk.", "Writeback")
ACTIVE = _bytes("memory_active_bytes", "Used recently.", "Active")
INACTIVE = _bytes("memory_inactive_bytes", "Not used recently: reclaimed first.", "Inactive")
ANONYMOUS = _bytes("memory_anonymous_bytes", "Memory of programs that no file stands behind.", "AnonPages", USAGE)
ANONYMOUS_HUGE = _bytes("memory_anonymous_huge_bytes", "Part of it in transparent huge pages.", "AnonHugePages")
MAPPED = _bytes("memory_mapped_bytes", "Files mapped into programs.", "Mapped")
SHARED = _bytes("memory_shared_bytes", "Shared memory and tmpfs.", "Shmem", "system.memory.linux.shared")
UNEVICTABLE = _bytes("memory_unevictable_bytes", "What must stay in memory.", "Unevictable")
LOCKED = _bytes("memory_locked_bytes", "Locked into memory by programs.", "Mlocked")
KERNEL_STACKS = _bytes("memory_kernel_stack_bytes", "Kernel stacks of all threads.", "KernelStack")
PAGE_TABLES = _bytes("memory_page_tables_bytes", "Page tables.", "PageTables")
PER_CPU = _bytes("memory_per_cpu_bytes", "Kernel data kept once per core.", "Percpu")
VIRTUAL = _bytes("memory_vmalloc_used_bytes", "Kernel memory that is contiguous virtually only.", "VmallocUsed")
COMMITTED = _bytes("memory_committed_bytes", "Promised to programs, whether touched or not.", "Committed_AS")
COMMIT_LIMIT = _bytes("memory_commit_limit_bytes", "What may be promised under strict overcommit.", "CommitLimit")
CORRUPTED = _bytes("memory_corrupted_bytes", "Taken out of use because of hardware errors.", "HardwareCorrupted")
HUGE_PAGES = _pages("huge_pages", "Huge pages reserved by the operator.", "HugePages_Total", "limit")
HUGE_PAGES_FREE = _pages("huge_pages_free", "Huge pages not in use.", "HugePages_Free", "usage")
HUGE_PAGES_RESERVED = _pages(
    "huge_pages_reserved", "Huge pages promised but not in use yet.", "HugePages_Rsvd", "reserved"
)
HUGE_PAGES_SURPLUS = _pages("huge_pages_surplus", "Huge pages beyond those reserved.", "HugePages_Surp", "surplus")
HUGE_PAGE_SIZE = _bytes(
    "huge_page_size_bytes", "Size of a huge page.", "Hugepagesize", "system.memory.linux.hugepages.page_size"
)
SWAP_TOTAL = _bytes("swap_total_bytes", "Swap space.", "SwapTotal", SWAP_USAGE)
SWAP_FREE = _bytes("swap_free_bytes", "Unused swap space.", "SwapFree", SWAP_USAGE)
SWAP_CACHED = _bytes("swap_cached_bytes", "In memory and, unchanged, in swap space too.", "SwapCached", SWAP_USAGE)
SWAP_COMPRESSED = _bytes("swap_compressed_bytes", "Memory that zswap takes for what it holds.", "Zswap")
SWAP_COMPRESSED_CONTENT = _bytes("swap_compressed_content_bytes", "What zswap holds, uncompressed.", "Zswapped")

ALL_FAULTS = _counter("page_faults_total", "operations", "Page faults.", "pgfault", "system.paging.faults")
FAULTS = _counter(
    "page_faults_major_total", "operations", "Page faults that read a disk.", "pgmajfault", "system.paging.faults"
)
SWAP_IN = _counter("swap_in_pages_total", "pages", "Pages read from swap.", "pswpin", "system.paging.operations")
SWAP_OUT = _counter("swap_out_pages_total", "pages", "Pages written to swap.", "pswpout", "system.paging.operations")
PAGED_IN = _counter("paged_in_bytes_total", "bytes", "Read from block devices.", "pgpgin", "system.paging.operations")
PAGED_OUT = _counter(
    "paged_out_bytes_total", "bytes", "Written to block devices.", "pgpgout", "system.paging.operations"
)
SCANNED = _counter(
    "memory_scanned_pages_total",
    "pages",
    "Pages looked at to be reclaimed, in the background (kswapd) or by who needs memory (direct).",
    "pgscan_*",
)
RECLAIMED = _counter("memory_reclaimed_pages_total", "pages", "Pages reclaimed, by the same two.", "pgsteal_*")
REFAULTS = _counter(
    "memory_refaults_total",
    "pages",
    "Pages needed again soon after they were reclaimed: memory is short.",
    "workingset_refault_*",
)
COMPACTION_STALLS = _counter(
    "memory_compaction_stalls_total", "operations", "Waits for memory to be made contiguous.", "compact_stall"
)
HUGE_FAULTS = _counter(
    "huge_page_faults_total", "operations", "Page faults answered with a transparent huge page.", "thp_fault_alloc"
)
HUGE_FALLBACKS = _counter(
    "huge_page_fallbacks_total",
    "operations",
    "Page faults for which no transparent huge page was free.",
    "thp_fault_fallback",
)
NUMA_MISSES = _counter(
    "numa_misses_total", "pages", "Pages that came from another node than the one wanted.", "numa_miss"
)
OOM_KILLS = replace(
    _counter("oom_kills_total", "operations", "Processes killed because memory ran out.", "oom_kill"), cumulative=True
)

MEMINFO = {
    b"MemTotal:": TOTAL,
    b"MemAvailable:": AVAILABLE,
    b"MemFree:": FREE,
    b"Cached:": CACHED,
    b"Buffers:": BUFFERS,
    b"Active:": ACTIVE,
    b"Inactive:": INACTIVE,
    b"Unevictable:": UNEVICTABLE,
    b"Mlocked:": LOCKED,
    b"Slab:": SLAB,
    b"SReclaimable:": SLAB_RECLAIMABLE,
    b"SUnreclaim:": SLAB_UNRECLAIMABLE,
    b"Dirty:": DIRTY,
    b"Writeback:": WRITEBACK,
    b"AnonPages:": ANONYMOUS,
    b"AnonHugePages:": ANONYMOUS_HUGE,
    b"Mapped:": MAPPED,
    b"Shmem:": SHARED,
    b"KernelStack:": KERNEL_STACKS,
    b"PageTables:": PAGE_TABLES,
    b"Percpu:": PER_CPU,
    b"VmallocUsed:": VIRTUAL,
    b"Committed_AS:": COMMITTED,
    b"CommitLimit:": COMMIT_LIMIT,
    b"HardwareCorrupted:": CORRUPTED,
    b"HugePages_Total:": HUGE_PAGES,
    b"HugePages_Free:": HUGE_PAGES_FREE,
    b"HugePages_Rsvd:": HUGE_PAGES_RESERVED,
    b"HugePages_Surp:": HUGE_PAGES_SURPLUS,
    b"Hugepagesize:": HUGE_PAGE_SIZE,
    b"SwapTotal:": SWAP_TOTAL,
    b"SwapFree:": SWAP_FREE,
    b"SwapCached:": SWAP_CACHED,
    b"Zswap:": SWAP_COMPRESSED,
    b"Zswapped:": SWAP_COMPRESSED_CONTENT,
}
VMSTAT = {
    b"pgfault": Series(ALL_FAULTS),
    b"pgmajfault": Series(FAULTS),
    b"pswpin": Series(SWAP_IN),
    b"pswpout": Series(SWAP_OUT),
    b"pgpgin": Series(PAGED_IN),
    b"pgpgout": Series(PAGED_OUT),
    b"pgscan_kswapd": Series(SCANNED, (("by", "kswapd"),)),
    b"pgscan_direct": Series(SCANNED, (("by", "direct"),)),
    b"pgsteal_kswapd": Series(RECLAIMED, (("by", "kswapd"),)),
    b"pgsteal_direct": Series(RECLAIMED, (("by", "direct"),)),
    b"workingset_refault_anon": Series(REFAULTS, (("of", "programs"),)),
    b"workingset_refault_file": Series(REFAULTS, (("of", "files"),)),
    b"workingset_refault": Series(REFAULTS, (("of", "files"),)),  # the name until 5.8, which counted files only
    b"compact_stall": Series(COMPACTION_STALLS),
    b"thp_fault_alloc": Series(HUGE_FAULTS),
    b"thp_fault_fallback": Series(HUGE_FALLBACKS),
    b"numa_miss": Series(NUMA_MISSES),
    b"oom_kill": Series(OOM_KILLS),
}
IN_KIBIBYTES = {key for key in MEMINFO if not key.startswith(b"HugePages_")} | {b"pgpgin", b"pgpgout"}
KIBIBYTE = 1024
FACTORS = dict.fromkeys(IN_KIBIBYTES, KIBIBYTE)
"""What makes bytes of kibibytes."""
LONGEST_EVENT = 64
"""A line of ``/proc/vmstat`` is a name and a number of twenty digits at most."""


@parser("memory")
def parse_meminfo(data: bytes, layout: KeyedFile) -> list[int]:
    """Return bytes, or numbers of huge pages, for the keys of `layout`."""
    values = layout.pick(data)
    if b"MemTotal:" not in layout.present:
        raise ValueError("no MemTotal")
    return values


@parser("memory")
def parse_vmstat(data: bytes, layout: KeyedFile) -> list[int]:
    """Return events, pages or bytes for the keys of `layout`."""
    return layout.pick(data)


def meminfo_layout() -> KeyedFile:
    """Return where ``/proc/meminfo`` has what is in `MEMINFO`."""
    return KeyedFile(tuple(MEMINFO), FACTORS)


def vmstat_layout() -> KeyedFile:
    """Return where ``/proc/vmstat`` has what is in `VMSTAT`."""
    return KeyedFile(tuple(VMSTAT), FACTORS)


class Memory(Parts):
    """Memory, swap and paging of the kernel."""

    name = "memory"
    metrics = (*MEMINFO.values(), *dict.fromkeys(series.metric for series in VMSTAT.values()))

    def __init__(self, host: Host) -> None:
        sizes = ProcFile(host.proc_root / "meminfo", source=self.name, single=True)
        events = ProcFile(host.proc_root / "vmstat", source=self.name, single=False, longest=LONGEST_EVENT)
        super().__init__(
            Picked(sizes, meminfo_layout(), parse_meminfo, lambda key: Series(MEMINFO[key])),
            Picked(events, vmstat_layout(), parse_vmstat, VMSTAT.__getitem__),
        )
