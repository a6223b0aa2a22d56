"""Known faults written into a copy of real history: the only truth there is about a machine nobody labelled."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats, SignalFrame

_MIB = float(2**20)

Change = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes
    ----------
    minutes : int
        How long it lasts.
    changes : mapping of signal to function
        (values before, progress 0..1 through the fault) to values during it.
    """

    kind: str
    minutes: int
    changes: dict[str, Change]


def _to(level: float) -> Change:
    def change(before: Floats, progress: Floats) -> Floats:
        return np.asarray(np.maximum(before, level))

    return change


def _by(rise: float) -> Change:
    def change(before: Floats, progress: Floats) -> Floats:
        return before + rise

    return change


def _ramp_to(level: float) -> Change:
    def change(before: Floats, progress: Floats) -> Floats:
        return np.asarray(np.maximum(before, before + (level - before) * progress))

    return change


FAULTS: tuple[Fault, ...] = (
    Fault(
        "cpu_saturation",
        5,
        {"cpu_utilization_ratio": _to(0.97), "load_per_cpu": _by(1.5), "pressure_cpu_ratio": _to(0.6)},
    ),
    Fault("memory_leak", 60, {"memory_used_ratio": _ramp_to(0.96)}),
    Fault(
        "disk_stall",
        5,
        {"cpu_iowait_ratio": _to(0.5), "disk_busy_ratio": _to(1.0), "pressure_io_ratio": _to(0.6)},
    ),
    Fault("disk_filling", 30, {"filesystem_used_ratio": _ramp_to(0.99)}),
    Fault("network_flood", 5, {"network_receive_bytes_per_second": _by(60 * _MIB)}),
    Fault("swap_storm", 10, {"swap_used_ratio": _ramp_to(0.8), "pressure_memory_ratio": _to(0.4)}),
)
"""What every candidate is asked to find."""


@dataclass(frozen=True, slots=True)
class Injected:
    """A frame with faults in it.

    Attributes
    ----------
    starts : first row of each fault
    """

    frame: SignalFrame
    fault: Fault
    starts: NDArray[np.int64]


def inject(frame: SignalFrame, fault: Fault, *, times: int, seed: int) -> Injected:
    """Return a copy of `frame` with `fault` in it, spread over its length; none if no signal of it is measured.

    Parameters
    ----------
    times : int
        How often; fewer if the frame is too short to keep them apart.
    seed : int
        Of the places.
    """
    columns = {SIGNALS.index(name): change for name, change in fault.changes.items()}
    known = [column for column in columns if np.isfinite(frame.values[:, column]).any()]
    slots = min(times, len(frame.ts) // (3 * fault.minutes)) if known else 0
    starts = _places(len(frame.ts), fault.minutes, slots, seed)
    values = frame.values.copy()
    progress = np.arange(1, fault.minutes + 1) / fault.minutes
    for start in starts:
        rows = slice(int(start), int(start) + fault.minutes)
        for column in known:
            values[rows, column] = columns[column](frame.values[rows, column], progress)
    return Injected(replace(frame, values=values), fault, starts)


def _places(rows: int, length: int, slots: int, seed: int) -> NDArray[np.int64]:
    """Return one start per equal slot, at random within its first half."""
    if not slots:
        return np.empty(0, dtype=np.int64)
    width = rows // slots
    room = max((width - length) // 2, 1)
    offsets = np.random.default_rng(seed).integers(0, room, size=slots)
    return np.asarray(np.arange(slots) * width + offsets, dtype=np.int64)
