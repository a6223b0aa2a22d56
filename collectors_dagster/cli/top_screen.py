"""One frame of ``collectors agent top``."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from collectors_dagster.cli.top_model import Busy, TopModel

BARS = "▁▂▃▄▅▆▇█"
LABEL_WIDTH, VALUE_WIDTH = 21, 13
WIDE = 100
"""Columns of a terminal from which panels stand side by side."""
WATCHED = (
    *("cpu_busy_seconds_total", "cpu_iowait_seconds_total", "cpu_count", "load1"),
    *("memory_total_bytes", "memory_available_bytes"),
    *("disk_read_bytes_total", "disk_written_bytes_total", "disk_io_seconds_total"),
    *("network_receive_bytes_total", "network_transmit_bytes_total"),
    *(
        "pressure_cpu_waiting_seconds_total",
        "pressure_memory_waiting_seconds_total",
        "pressure_io_waiting_seconds_total",
    ),
)
"""Metrics whose last minute is shown from the first frame on."""
_SHORT = 12
"""Bars beside a single series."""
_STYLES = {"ok": "green", "degraded": "yellow", "failing": "bold red"}
_GROUPS = ("process", "processes", "cgroup", "cgroups", "container")
"""Collectors whose series name processes or groups of them."""

Format = Callable[[float], str]


def frame(model: TopModel, now: datetime, width: int, trouble: str = "") -> RenderableType:
    """Return the whole picture.

    Parameters
    ----------
    trouble : str
        Why the state shown is not the present one.
    """
    wide = width >= WIDE
    spark = max(8, (width // 2 if wide else width) - LABEL_WIDTH - VALUE_WIDTH - 9)
    left = [_host(model, spark), _busiest(model), *_groups(model)]
    right = [_collectors(model, now), _delivery(model, now), _spool(model)]
    body: RenderableType
    if wide:
        grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(Group(*left), Group(*right))
        body = grid
    else:
        body = Group(*left, *right)
    notes = [Text(trouble, style="bold red")] if trouble else []
    return Group(_title(model, now), *notes, body)


def sparkline(values: Sequence[float], highest: float | None = None, width: int = 60) -> str:
    """Return the newest values as bars.

    Parameters
    ----------
    highest : float or None
        Value of a full bar; by default the largest one shown.

    Examples
    --------
    >>> sparkline([0, 1, 2, 4])
    '▁▂▄█'
    >>> sparkline([0.5], highest=1.0)
    '▄'
    """
    shown = values[-width:]
    top = highest or max(shown, default=0.0)
    if top <= 0:
        return BARS[0] * len(shown)
    steps = len(BARS) - 1
    return "".join(BARS[min(steps, max(0, round(value / top * steps)))] for value in shown)


def quantity(value: float, unit: str = "") -> str:
    """Return a number that a person can read at a glance.

    Examples
    --------
    >>> quantity(1_530_000, "B/s"), quantity(0.25), quantity(999)
    ('1.5 MB/s', '0.25', '999')
    """
    scale = ""
    for larger in ("k", "M", "G", "T"):
        if abs(value) < 999.5:
            break
        value, scale = value / 1000, larger
    digits = f"{value:.1f}" if scale and value < 100 else f"{value:.3g}"
    return f"{digits} {scale}{unit}".rstrip()


def age(seconds: float) -> str:
    """Return a span of time, roughly.

    Examples
    --------
    >>> age(7.2), age(130), age(9000)
    ('7 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _title(model: TopModel, now: datetime) -> RenderableType:
    state = model.state
    health, sampling = state["health"], state["sampling"]
    cpu, rss = model.own_cpu_ratio(), state["process"]["rss_bytes"]
    line = Text.assemble(
        (state["host"], "bold"),
        f"  agent {state['agent_id']} {state['version']}, up {age(_since(state['started_at'], now))}  ",
        (health["status"], _STYLES.get(health["status"], "")),
        f"  {sampling['series']} series every {sampling['interval_seconds']:g} s",
        f"  sweep {sampling['last_sweep_microseconds'] / 1000:.2f} ms, {sampling['overruns']} missed",
        "" if cpu is None else f"  cpu {cpu:.1%}",
        f"  {rss / 1e6:.0f} MB",
    )
    reasons = [*health["failing"], *health["degraded"]]
    return Group(line, *(Text(f"  {reason}", style="yellow", no_wrap=True, overflow="ellipsis") for reason in reasons))


def _host(model: TopModel, spark: int) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True, width=LABEL_WIDTH)
    table.add_column(justify="right", no_wrap=True, width=VALUE_WIDTH)
    table.add_column(no_wrap=True, ratio=1)
    for name, values, shown, highest in _host_rows(model):
        if values:
            table.add_row(name, shown(values[-1]), Text(sparkline(values, highest, spark), style="cyan"))
    return Panel(table, title="host", title_align="left", border_style="dim")


def _host_rows(model: TopModel) -> list[tuple[str, list[float], Format, float | None]]:
    cores = (model.level("cpu_count") or [1.0])[-1] or 1.0
    total = (model.level("memory_total_bytes") or [0.0])[-1]
    used = [1 - free / total for free in model.level("memory_available_bytes")] if total else []
    return [
        ("cpu busy", _scaled(model.rate("cpu_busy_seconds_total"), 1 / cores), _percent, 1.0),
        ("cpu waiting for disks", _scaled(model.rate("cpu_iowait_seconds_total"), 1 / cores), _percent, 1.0),
        ("load", model.level("load1"), quantity, None),
        ("memory used", used, _percent, 1.0),
        ("disk read", model.rate("disk_read_bytes_total"), _bytes_per_second, None),
        ("disk written", model.rate("disk_written_bytes_total"), _bytes_per_second, None),
        ("network received", model.rate("network_receive_bytes_total"), _bytes_per_second, None),
        ("network sent", model.rate("network_transmit_bytes_total"), _bytes_per_second, None),
        ("pressure on cpu", model.rate("pressure_cpu_waiting_seconds_total"), _percent, 1.0),
        ("pressure on memory", model.rate("pressure_memory_waiting_seconds_total"), _percent, 1.0),
        ("pressure on disks", model.rate("pressure_io_waiting_seconds_total"), _percent, 1.0),
    ]


def _busiest(model: TopModel) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True, width=VALUE_WIDTH)
    table.add_column(no_wrap=True, width=_SHORT)
    plain = [name for name in model.state["sampling"]["collectors"] if name not in _GROUPS]
    for unit in ("bytes", "operations", "packets"):
        for busy in model.busiest(collectors=plain, unit=unit, kind="counter", most=3):
            words = f"{quantity(busy.amount, 'B/s' if unit == 'bytes' else '/s')}"
            spark = sparkline(busy.trend, width=_SHORT)
            table.add_row(_named(busy), words, Text(spark, style="magenta"))
    return Panel(table, title="busiest series", title_align="left", border_style="dim")


def _groups(model: TopModel) -> list[RenderableType]:
    """Return a panel per collector of processes or groups: who takes the processors, who holds the memory."""
    present = [name for name in model.state["sampling"]["collectors"] if name in _GROUPS]
    return [panel for name in present if (panel := _group(model, name)) is not None]


def _group(model: TopModel, collector: str) -> RenderableType | None:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    only = [collector]
    cpu = model.busiest(collectors=only, unit="seconds", kind="counter", most=20)
    for busy in [each for each in cpu if "cpu" in each.metric][:5]:
        table.add_row(_named(busy), f"{busy.amount:.0%} of a core")
    for busy in model.busiest(collectors=only, unit="bytes", kind="gauge", most=5):
        table.add_row(_named(busy), quantity(busy.amount, "B"))
    return Panel(table, title=collector, title_align="left", border_style="dim") if table.row_count else None


def _collectors(model: TopModel, now: datetime) -> RenderableType:
    sampling = model.state["sampling"]
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("collector", no_wrap=True)
    for heading in ("read", "every", "took", "series", "errors"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, tally in sampling["collectors"].items():
        every = max(sampling["interval_seconds"], tally["interval_seconds"])
        errors = sum(tally["errors"].values())
        table.add_row(
            Text(name, style="red" if tally["last_error"] or tally["circuit"] != "closed" else "green"),
            f"{age(_since(tally['last_success'], now))} ago" if tally["last_success"] else "never",
            f"{every:g} s",
            f"{tally['last_microseconds'] / 1000:.2f} ms",
            str(model.series_of(name)),
            f"{errors} {'' if tally['circuit'] == 'closed' else tally['circuit']}".rstrip(),
        )
    return Panel(table, title="collectors", title_align="left", border_style="dim")


def _delivery(model: TopModel, now: datetime) -> RenderableType:
    delivery = model.state["delivery"]
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("tenant", no_wrap=True)
    for heading in ("behind", "rows", "duplicates"):
        table.add_column(heading, justify="right", no_wrap=True)
    for tenant, lane in delivery["tenants"].items():
        behind = age(_since(lane["delivered_until"], now)) if lane["delivered_until"] else "nothing yet"
        table.add_row(tenant, behind, f"{lane['rows']:,}", f"{lane['duplicates']:,}")
    for tenant in delivery["refused"]:
        table.add_row(Text(tenant, style="red"), "refused", "", "")
    counts = Text(f"{delivery['batches']:,} batches, {delivery['failures']:,} failures", style="dim")
    return Panel(Group(table, counts), title="delivery", title_align="left", border_style="dim")


def _spool(model: TopModel) -> RenderableType:
    spool = model.state["spool"]
    lost, dropped = spool["lost_records"], spool["dropped_undelivered_segments"]
    line = Text.assemble(
        f"{quantity(spool['bytes'], 'B')} in {spool['segments']} closed segments, next record {spool['next_seq']:,}, ",
        (f"{lost} lost, {dropped} undelivered segments dropped", "red" if lost or dropped else "green"),
    )
    return Panel(line, title="spool", title_align="left", border_style="dim")


def _named(busy: Busy) -> str:
    labels = ", ".join(value for _, value in busy.labels)
    name = busy.metric.removesuffix("_total")
    return f"{name} {labels}".rstrip()


def _scaled(values: Sequence[float], factor: float) -> list[float]:
    return [value * factor for value in values]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _bytes_per_second(value: float) -> str:
    return quantity(value, "B/s")


def _since(instant: Any, now: datetime) -> float:
    return (now - datetime.fromisoformat(instant)).total_seconds()
