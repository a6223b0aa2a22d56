"""An invented history of two hosts, with planted incidents: for demonstrations, and to measure what is detected.

Everything follows from a seed and the times: daily and weekly rhythm, nightly jobs, correlated noise, and eight
incidents of eight kinds. The hosts carry ``synthetic`` in their names. The incidents lie in the second half of the
history, so that a detector has seen at least three undisturbed days before the first one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats, Times
from collectors_dagster.records import PlantedIncident, Window
from collectors_dagster.samples import Kind, Labels, Metric, SeriesKey

WEB = "synthetic-web-1"
DATABASE = "synthetic-db-1"
RESOLUTION_SECONDS = 60
MINIMUM_DAYS = 8
"""Fewer days leave no room for eight incidents after a quiet start."""

_CORES = 4.0
_MEMORY_BYTES = 16 * 2.0**30
_SWAP_BYTES = 4 * 2.0**30
_FILESYSTEM_BYTES = 200e9
_MEGABYTE = 1e6

State = dict[str, Floats]
"""What a host does each minute, by plain names; each array has shape (n,)."""


@dataclass(frozen=True, slots=True)
class SyntheticHistory:
    """The invented samples and the truth about them.

    Attributes
    ----------
    window : Window
        Samples lie after its start, up to its end.
    ts : shape (n,)
        Ends of the minutes.
    values : shape (n, m)
        One column per series.
    planted : tuple of PlantedIncident
        By start.
    """

    window: Window
    series: tuple[SeriesKey, ...]
    ts: Times
    values: Floats
    planted: tuple[PlantedIncident, ...]


def synthetic_history(end: datetime, *, days: int, seed: int) -> SyntheticHistory:
    """Invent the history from midnight (UTC) `days` days before the day of `end`, up to `end`.

    The same arguments give the same history, whenever and wherever it is made.
    """
    if days < MINIMUM_DAYS:
        raise ValueError(f"a synthetic history needs at least {MINIMUM_DAYS} days, not {days}")
    window = _window(end, days)
    ts = _minutes(window)
    series: list[SeriesKey] = []
    columns: list[Floats] = []
    planted: list[PlantedIncident] = []
    for number, host in enumerate((WEB, DATABASE)):
        random = np.random.default_rng([seed, number])
        state = _PROFILES[host](ts, random)
        planted += _plant(host, state, window, days, random)
        keys, values = _delivered(host, state)
        series += keys
        columns += values
    ordered = tuple(sorted(planted, key=lambda one: one.started_at))
    return SyntheticHistory(window, tuple(series), ts, np.column_stack(columns), ordered)


def _window(end: datetime, days: int) -> Window:
    last = end.astimezone(UTC).replace(second=0, microsecond=0)
    midnight = last.replace(hour=0, minute=0)
    return Window(midnight - timedelta(days=days), last)


def _minutes(window: Window) -> Times:
    first, last = (np.datetime64(edge.replace(tzinfo=None), "s") for edge in (window.start, window.end))
    step = np.timedelta64(RESOLUTION_SECONDS, "s")
    return np.arange(first + step, last + step, step)


# -- rhythm and noise -------------------------------------------------------------------------------------------


def _hour(ts: Times) -> Floats:
    """Return the hour of the day, 0 to 24, UTC."""
    return np.asarray((ts - ts.astype("datetime64[D]")) / np.timedelta64(1, "h"), dtype=np.float64)


def _day(ts: Times, *, peak: float, weekend: float) -> Floats:
    """Return a daily wave in 0..1 with its top at the hour `peak`; weekends are lower by the factor `weekend`."""
    wave = 0.5 + 0.5 * np.cos((_hour(ts) - peak) * 2 * np.pi / 24)
    weekday = (ts.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return np.asarray(wave**1.5 * np.where(weekday >= 5, weekend, 1.0))


def _noise(random: np.random.Generator, n: int, *, sigma: float, memory_minutes: float) -> Floats:
    """Return noise with a memory: standard deviation `sigma`, correlated over `memory_minutes`."""
    keep = np.exp(-1.0 / memory_minutes)
    taps = keep ** np.arange(int(6 * memory_minutes) + 1)
    white = random.standard_normal(n + len(taps) - 1)
    return np.asarray(np.convolve(white, taps, mode="valid") * sigma * np.sqrt(1 - keep**2))


def _nightly(ts: Times, *, hour: float, minutes: float) -> Floats:
    """Return 1 while a nightly job runs, else 0."""
    since = (_hour(ts) - hour) * 60
    return np.where((since > 0) & (since <= minutes), 1.0, 0.0)


def _burst(random: np.random.Generator, n: int, level: float) -> Floats:
    """Return positive, skewed noise around `level`."""
    return np.asarray(level * random.lognormal(0.0, 0.25, n))


# -- what the two hosts do on a good day ------------------------------------------------------------------------


def _web(ts: Times, random: np.random.Generator) -> State:
    n = len(ts)
    traffic = 0.08 + 0.92 * _day(ts, peak=13.5, weekend=0.75)
    traffic = traffic * (1 + _noise(random, n, sigma=0.05, memory_minutes=8))
    rotation = _nightly(ts, hour=3.25, minutes=10)
    cpu = 0.06 + 0.58 * traffic + 0.12 * rotation + _noise(random, n, sigma=0.012, memory_minutes=3)
    return _completed(
        {
            "cpu": cpu,
            "iowait": 0.004 + 0.03 * rotation + np.abs(_noise(random, n, sigma=0.002, memory_minutes=2)),
            "memory": 0.46 + 0.07 * traffic + _noise(random, n, sigma=0.006, memory_minutes=240),
            "disk_read": _burst(random, n, 0.3 * _MEGABYTE) + 15 * _MEGABYTE * rotation,
            "disk_write": _burst(random, n, 0.8 * _MEGABYTE) * (0.4 + traffic) + 18 * _MEGABYTE * rotation,
            "filesystem": _filesystem(ts, start=0.41, growth_per_day=0.002),
            "receive": _burst(random, n, 1.6 * _MEGABYTE) * traffic,
            "transmit": _burst(random, n, 3.2 * _MEGABYTE) * traffic,
        },
        random,
    )


def _database(ts: Times, random: np.random.Generator) -> State:
    n = len(ts)
    demand = 0.2 + 0.8 * _day(ts, peak=14.5, weekend=0.7)
    demand = demand * (1 + _noise(random, n, sigma=0.05, memory_minutes=10))
    backup = _nightly(ts, hour=2.0, minutes=25)
    cpu = 0.08 + 0.32 * demand + 0.22 * backup + _noise(random, n, sigma=0.012, memory_minutes=3)
    return _completed(
        {
            "cpu": cpu,
            "iowait": 0.02 + 0.02 * demand + 0.12 * backup + np.abs(_noise(random, n, sigma=0.004, memory_minutes=2)),
            "memory": 0.62 + 0.03 * demand + _noise(random, n, sigma=0.004, memory_minutes=360),
            "disk_read": _burst(random, n, 4 * _MEGABYTE) * demand + _burst(random, n, 85 * _MEGABYTE) * backup,
            "disk_write": _burst(random, n, 6 * _MEGABYTE) * demand + _burst(random, n, 60 * _MEGABYTE) * backup,
            "filesystem": _filesystem(ts, start=0.55, growth_per_day=0.003),
            "receive": _burst(random, n, 0.9 * _MEGABYTE) * demand,
            "transmit": _burst(random, n, 1.5 * _MEGABYTE) * demand,
        },
        random,
    )


def _filesystem(ts: Times, *, start: float, growth_per_day: float) -> Floats:
    """Return a share that grows steadily, and a little more until each night's rotation of logs."""
    days = (ts - ts[0]) / np.timedelta64(1, "D")
    return np.asarray(start + growth_per_day * days + 0.004 * ((_hour(ts) - 3.25) % 24) / 24)


def _completed(state: State, random: np.random.Generator) -> State:
    """Add what follows from the rest: load, swap, how busy the disk is, pressure."""
    n = len(state["cpu"])
    state["load"] = state["cpu"] * 1.15 + state["iowait"] + np.abs(_noise(random, n, sigma=0.04, memory_minutes=3))
    state["swap"] = np.full(n, 0.02)
    traffic = state["disk_read"] + state["disk_write"]
    state["disk_busy"] = 0.01 + 0.7 * traffic / (traffic + 60 * _MEGABYTE)
    state["cpu_pressure"] = 0.3 * np.clip(state["cpu"] - 0.45, 0, 1) + np.abs(
        _noise(random, n, sigma=0.003, memory_minutes=2)
    )
    state["memory_pressure"] = np.zeros(n)
    state["io_pressure"] = 0.6 * state["iowait"]
    return state


_PROFILES: dict[str, Callable[[Times, np.random.Generator], State]] = {WEB: _web, DATABASE: _database}


# -- what goes wrong --------------------------------------------------------------------------------------------

Rows = NDArray[np.intp]
Effect = Callable[[State, Rows, Floats, np.random.Generator], None]
"""Changes a state in place, in the rows of the incident; the third argument runs from 0 to 1 over them."""


@dataclass(frozen=True, slots=True)
class _Script:
    """One incident: where, when (as a share of the history, and an hour), how long, in which signals."""

    host: str
    kind: str
    when: float
    hour: float
    minutes: int
    signals: tuple[str, ...]
    effect: Effect


def _saturate(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    state["cpu"][rows] = 0.975 + 0.015 * random.random(len(rows))
    state["load"][rows] = 2.2 + 0.8 * np.minimum(progress * 4, 1)
    state["cpu_pressure"][rows] = 0.55 + 0.1 * random.random(len(rows))


def _leak(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    before = state["memory"][rows]
    state["memory"][rows] = before + (0.975 - before) * progress
    state["swap"][rows] += 0.7 * np.clip(progress - 0.75, 0, 1) / 0.25
    state["memory_pressure"][rows] = 0.35 * np.clip(progress - 0.8, 0, 1) / 0.2


def _fill_disk(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    before = state["filesystem"][rows]
    state["filesystem"][rows] = before + (0.995 - before) * np.minimum(progress / 0.9, 1)
    state["disk_write"][rows] += 4 * _MEGABYTE


def _flood(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    state["receive"][rows] += _burst(random, len(rows), 60 * _MEGABYTE)
    state["transmit"][rows] += _burst(random, len(rows), 6 * _MEGABYTE)
    state["cpu"][rows] += 0.12


def _stall(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    state["disk_busy"][rows] = 0.99
    state["iowait"][rows] = 0.55 + 0.1 * random.random(len(rows))
    state["io_pressure"][rows] = 0.7 + 0.1 * random.random(len(rows))
    state["disk_read"][rows] *= 0.1
    state["disk_write"][rows] *= 0.1
    state["load"][rows] += 2.5


def _quiet(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    for name in ("receive", "transmit", "disk_write"):
        state[name][rows] *= 0.04
    state["cpu"][rows] = 0.05 + 0.01 * random.random(len(rows))
    state["load"][rows] = 0.06
    state["cpu_pressure"][rows] = 0.0


def _runaway(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    state["disk_read"][rows] += _burst(random, len(rows), 90 * _MEGABYTE)
    state["disk_write"][rows] += _burst(random, len(rows), 160 * _MEGABYTE)
    state["disk_busy"][rows] = 0.93 + 0.05 * random.random(len(rows))
    state["iowait"][rows] += 0.3
    state["io_pressure"][rows] += 0.25


def _slow_burn(state: State, rows: Rows, progress: Floats, random: np.random.Generator) -> None:
    state["cpu"][rows] += 0.38
    state["load"][rows] += 0.9
    state["cpu_pressure"][rows] += 0.12


_SCRIPTS: tuple[_Script, ...] = (
    _Script(
        WEB,
        "cpu_saturation",
        0.50,
        10.5,
        25,
        ("cpu_utilization_ratio", "load_per_cpu", "pressure_cpu_ratio"),
        _saturate,
    ),
    _Script(DATABASE, "io_stall", 0.56, 15.2, 18, ("disk_busy_ratio", "cpu_iowait_ratio", "pressure_io_ratio"), _stall),
    _Script(WEB, "network_flood", 0.63, 20.1, 20, ("network_receive_bytes_per_second",), _flood),
    _Script(DATABASE, "slow_burn", 0.69, 5.0, 75, ("cpu_utilization_ratio", "load_per_cpu"), _slow_burn),
    _Script(
        WEB, "memory_leak", 0.75, 11.0, 240, ("memory_used_ratio", "swap_used_ratio", "pressure_memory_ratio"), _leak
    ),
    _Script(
        DATABASE,
        "runaway_job",
        0.82,
        21.0,
        90,
        ("disk_written_bytes_per_second", "disk_read_bytes_per_second", "disk_busy_ratio"),
        _runaway,
    ),
    _Script(
        WEB,
        "quiet_drop",
        0.88,
        13.0,
        35,
        ("cpu_utilization_ratio", "network_receive_bytes_per_second", "network_transmit_bytes_per_second"),
        _quiet,
    ),
    _Script(DATABASE, "disk_full", 0.93, 6.0, 720, ("filesystem_used_ratio",), _fill_disk),
)


def _plant(host: str, state: State, window: Window, days: int, random: np.random.Generator) -> list[PlantedIncident]:
    planted = []
    for script in _SCRIPTS:
        if script.host == host:
            start = _start_of(script, window, days, random)
            end = start + timedelta(minutes=script.minutes)
            first = int((start - window.start).total_seconds()) // RESOLUTION_SECONDS
            rows = np.arange(first, min(first + script.minutes, len(state["cpu"])))
            script.effect(state, rows, (np.arange(len(rows)) + 1.0) / script.minutes, random)
            planted.append(PlantedIncident(host, start, end, script.kind, script.signals))
    return planted


def _start_of(script: _Script, window: Window, days: int, random: np.random.Generator) -> datetime:
    """Return the start, moved by up to 20 minutes so that nothing hangs on round times."""
    day = int(script.when * days)
    moved = int(random.integers(-20, 21))
    return window.start + timedelta(days=day, hours=script.hour, minutes=moved)


# -- what an agent would deliver ---------------------------------------------------------------------------------

_DISK: Labels = (("device", "vda"),)
_ROOT: Labels = (("fstype", "ext4"), ("mountpoint", "/"))
_ETHERNET: Labels = (("interface", "eth0"),)


@dataclass(frozen=True, slots=True)
class _Column:
    collector: str
    metric: Metric
    value: Callable[[State], Floats]
    labels: Labels = ()


def _gauge(collector: str, name: str, unit: str, value: Callable[[State], Floats], labels: Labels = ()) -> _Column:
    return _Column(collector, Metric(name, Kind.GAUGE, unit, ""), value, labels)


def _counter(collector: str, name: str, unit: str, value: Callable[[State], Floats], labels: Labels = ()) -> _Column:
    return _Column(collector, Metric(f"{name}_total", Kind.COUNTER, unit, ""), value, labels)


def _constant(level: float) -> Callable[[State], Floats]:
    return lambda state: np.full(len(state["cpu"]), level)


def _share(name: str) -> Callable[[State], Floats]:
    return lambda state: np.clip(state[name], 0.0, 1.0)


def _cores(name: str) -> Callable[[State], Floats]:
    return lambda state: _CORES * np.clip(state[name], 0.0, 1.0)


def _unused(name: str, total: float) -> Callable[[State], Floats]:
    return lambda state: total * (1.0 - np.clip(state[name], 0.0, 1.0))


def _rate(name: str) -> Callable[[State], Floats]:
    return lambda state: np.maximum(state[name], 0.0)


_COLUMNS: Sequence[_Column] = (
    _counter("cpu", "cpu_busy_seconds", "seconds", _cores("cpu")),
    _counter("cpu", "cpu_iowait_seconds", "seconds", _cores("iowait")),
    _gauge("cpu", "cpu_count", "cores", _constant(_CORES)),
    _gauge("load", "load1", "processes", lambda state: _CORES * np.maximum(state["load"], 0.0)),
    _gauge("memory", "memory_total_bytes", "bytes", _constant(_MEMORY_BYTES)),
    _gauge("memory", "memory_available_bytes", "bytes", _unused("memory", _MEMORY_BYTES)),
    _gauge("memory", "swap_total_bytes", "bytes", _constant(_SWAP_BYTES)),
    _gauge("memory", "swap_free_bytes", "bytes", _unused("swap", _SWAP_BYTES)),
    _counter("disk", "disk_read_bytes", "bytes", _rate("disk_read"), _DISK),
    _counter("disk", "disk_written_bytes", "bytes", _rate("disk_write"), _DISK),
    _counter("disk", "disk_io_seconds", "seconds", _share("disk_busy"), _DISK),
    _gauge("disk", "filesystem_size_bytes", "bytes", _constant(_FILESYSTEM_BYTES), _ROOT),
    _gauge("disk", "filesystem_available_bytes", "bytes", _unused("filesystem", _FILESYSTEM_BYTES), _ROOT),
    _counter("network", "network_receive_bytes", "bytes", _rate("receive"), _ETHERNET),
    _counter("network", "network_transmit_bytes", "bytes", _rate("transmit"), _ETHERNET),
    _counter("pressure", "pressure_cpu_waiting_seconds", "seconds", _share("cpu_pressure")),
    _counter("pressure", "pressure_memory_waiting_seconds", "seconds", _share("memory_pressure")),
    _counter("pressure", "pressure_io_waiting_seconds", "seconds", _share("io_pressure")),
)


def _delivered(host: str, state: State) -> tuple[list[SeriesKey], list[Floats]]:
    keys = [
        SeriesKey(
            host,
            column.collector,
            column.metric.delivered_name,
            column.labels,
            column.metric.delivered_unit,
            column.metric.kind,
        )
        for column in _COLUMNS
    ]
    return keys, [column.value(state) for column in _COLUMNS]
