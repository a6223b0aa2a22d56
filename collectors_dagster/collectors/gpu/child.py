"""Asks NVML and writes what it says: a script that runs in a process of its own, because the driver may hang.

It imports nothing of this package, to stay small. For each byte on standard input it writes one message to standard
output: four bytes of length, then JSON, one of

- ``{"absent": why}`` and ends: no driver, or no GPU;
- ``{"failed": why}`` and ends: another process must begin anew;
- ``{"series": [[metric, [[label, value], ...]], ...], "values": [...], "lost": [why, ...]}``, where ``series`` is left
  out while it stays the same. NaN stands for a value that the driver did not tell this time.

When standard input is closed it ends at once, even in the middle of a call.

Arguments: the folder of the module pynvml, and the mount point of procfs.
"""

import ctypes
import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # started without site-packages, which would take longer to read than the GPUs

import pynvml as nvml

SLOW_TURNS = 5
"""What changes slowly, or takes long to ask, is asked every so many turns, each GPU in a turn of its own."""
RENEW_TURNS = 30
"""While a GPU is lost, NVML is initialised anew after so many turns to see whether it came back."""
EXECUTABLES = 20
"""Executables told by name for each GPU, those with the most memory; the others are added up."""
NAME_LENGTH = 64
XIDS_PER_TURN = 100

NAN = float("nan")
LABEL_OF_THE_OTHERS = "(other)"

UNSUPPORTED = frozenset(
    {
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        nvml.NVML_ERROR_NO_PERMISSION,
        nvml.NVML_ERROR_INVALID_ARGUMENT,
        nvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED,
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        nvml.NVML_ERROR_DEPRECATED,
    }
)
"""This GPU or driver will never answer this question."""
LOST = frozenset({nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED})
ABSENT = frozenset(
    {nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED, nvml.NVML_ERROR_GPU_NOT_FOUND}
)
BROKEN = frozenset(
    {nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_DRIVER_NOT_LOADED, nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH}
)
"""The driver was reloaded or replaced under us: only a new process can load its library."""

Device = nvml.c_nvmlDevice_t
Labels = tuple[tuple[str, str], ...]
ProcessList = Callable[[Device], list[nvml.c_nvmlProcessInfo_t]]
Key = tuple[str, Labels]
"""Name of a metric, and its labels sorted by name."""


class Query(NamedTuple):
    """One question to a device, and the series that its answer fills."""

    keys: tuple[Key, ...]
    ask: Callable[[Device], Sequence[float]]
    slow: bool = False


def _one(name: str, ask: Callable[[Device], float], *labels: tuple[str, str], slow: bool = False) -> Query:
    return Query((("gpu_" + name, labels),), lambda device: (ask(device),), slow=slow)


def _many(names: Sequence[str], ask: Callable[[Device], Sequence[float]]) -> Query:
    return Query(tuple(("gpu_" + name, ()) for name in names), ask)


def _utilization(device: Device) -> Sequence[float]:
    rates = nvml.nvmlDeviceGetUtilizationRates(device)
    return rates.gpu / 100, rates.memory / 100


def _memory(device: Device) -> Sequence[float]:
    """Return total and used; drivers before 510 count what they reserve as used."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
    return memory.total, memory.used


def _reserved(device: Device) -> float:
    return nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2).reserved


def _field(device: Device, number: int) -> float:
    (field,) = nvml.nvmlDeviceGetFieldValues(device, [number])
    if field.nvmlReturn != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(field.nvmlReturn)
    return float(getattr(field.value, VALUES[field.valueType]))


VALUES = {
    nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}

REASONS = (
    ("applications_clocks_setting", nvml.nvmlClocksEventReasonApplicationsClocksSetting),
    ("display_clock_setting", nvml.nvmlClocksEventReasonDisplayClockSetting),
    ("gpu_idle", nvml.nvmlClocksEventReasonGpuIdle),
    ("hw_power_brake_slowdown", nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown),
    ("hw_slowdown", nvml.nvmlClocksEventReasonHwSlowdown),
    ("hw_thermal_slowdown", nvml.nvmlClocksEventReasonHwThermalSlowdown),
    ("sw_power_cap", nvml.nvmlClocksEventReasonSwPowerCap),
    ("sw_thermal_slowdown", nvml.nvmlClocksEventReasonSwThermalSlowdown),
    ("sync_boost", nvml.nvmlClocksEventReasonSyncBoost),
)


def _throttling(device: Device) -> Sequence[float]:
    try:
        found = nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        found = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device)  # its name before driver 535
    return [float(bool(found & bit)) for _, bit in REASONS]


def _performance_state(device: Device) -> float:
    state = nvml.nvmlDeviceGetPerformanceState(device)
    return NAN if state == nvml.NVML_PSTATE_UNKNOWN else state


def _clock(name: str, domain: int) -> tuple[Query, Query]:
    labels = ("clock", name)
    return (
        _one("clock_hertz", lambda device: nvml.nvmlDeviceGetClockInfo(device, domain) * 1e6, labels),
        _one(
            "clock_limit_hertz", lambda device: nvml.nvmlDeviceGetMaxClockInfo(device, domain) * 1e6, labels, slow=True
        ),
    )


def _errors(type_name: str, error_type: int) -> tuple[Query, Query]:
    labels = ("type", type_name)
    return (
        _one(
            "ecc_errors_total",
            lambda device: nvml.nvmlDeviceGetTotalEccErrors(device, error_type, nvml.NVML_VOLATILE_ECC),
            labels,
            slow=True,
        ),
        _one(
            "ecc_aggregate_errors",
            lambda device: nvml.nvmlDeviceGetTotalEccErrors(device, error_type, nvml.NVML_AGGREGATE_ECC),
            labels,
            slow=True,
        ),
    )


def _remapped(device: Device) -> Sequence[float]:
    corrected, uncorrected, pending, failed = nvml.nvmlDeviceGetRemappedRows(device)
    return corrected, uncorrected, pending, failed


def _throughput(direction: int) -> Callable[[Device], float]:
    return lambda device: nvml.nvmlDeviceGetPcieThroughput(device, direction) * 1000.0  # told in kB/s


QUERIES: tuple[Query, ...] = (
    _many(("utilization_ratio", "memory_busy_ratio"), _utilization),
    _one("encoder_utilization_ratio", lambda device: nvml.nvmlDeviceGetEncoderUtilization(device)[0] / 100),
    _one("decoder_utilization_ratio", lambda device: nvml.nvmlDeviceGetDecoderUtilization(device)[0] / 100),
    _many(("memory_total_bytes", "memory_used_bytes"), _memory),
    _one("memory_reserved_bytes", _reserved, slow=True),
    _one("power_watts", lambda device: nvml.nvmlDeviceGetPowerUsage(device) / 1000),
    _one("power_limit_watts", lambda device: nvml.nvmlDeviceGetEnforcedPowerLimit(device) / 1000, slow=True),
    _one("energy_joules_total", lambda device: nvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1000),
    _one("temperature_celsius", lambda device: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
    _one("memory_temperature_celsius", lambda device: _field(device, nvml.NVML_FI_DEV_MEMORY_TEMP)),
    *_clock("graphics", nvml.NVML_CLOCK_GRAPHICS),
    *_clock("memory", nvml.NVML_CLOCK_MEM),
    *_clock("sm", nvml.NVML_CLOCK_SM),
    *_clock("video", nvml.NVML_CLOCK_VIDEO),
    Query(tuple(("gpu_throttle_ratio", (("reason", name),)) for name, _ in REASONS), _throttling),
    _one("performance_state", _performance_state),
    *_errors("corrected", nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
    *_errors("uncorrected", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
    _one(
        "retired_pages",
        lambda device: _field(device, nvml.NVML_FI_DEV_RETIRED_SBE),
        ("cause", "single_bit"),
        slow=True,
    ),
    _one(
        "retired_pages",
        lambda device: _field(device, nvml.NVML_FI_DEV_RETIRED_DBE),
        ("cause", "double_bit"),
        slow=True,
    ),
    _one("retired_pages_pending", lambda device: _field(device, nvml.NVML_FI_DEV_RETIRED_PENDING), slow=True),
    Query(
        (
            ("gpu_remapped_rows", (("type", "corrected"),)),
            ("gpu_remapped_rows", (("type", "uncorrected"),)),
            ("gpu_remapped_rows_pending", ()),
            ("gpu_remapped_rows_failed", ()),
        ),
        _remapped,
        slow=True,
    ),
    _one("pcie_transmit_bytes_per_second", _throughput(nvml.NVML_PCIE_UTIL_TX_BYTES), slow=True),
    _one("pcie_receive_bytes_per_second", _throughput(nvml.NVML_PCIE_UTIL_RX_BYTES), slow=True),
    _one("pcie_replays_total", nvml.nvmlDeviceGetPcieReplayCounter, slow=True),
    _one("pcie_link_generation", nvml.nvmlDeviceGetCurrPcieLinkGeneration, slow=True),
    _one("pcie_link_generation_limit", nvml.nvmlDeviceGetMaxPcieLinkGeneration, slow=True),
    _one("pcie_link_width", nvml.nvmlDeviceGetCurrPcieLinkWidth, slow=True),
    _one("pcie_link_width_limit", nvml.nvmlDeviceGetMaxPcieLinkWidth, slow=True),
)
MIG_QUERIES: tuple[Query, ...] = (
    _many(("mig_memory_total_bytes", "mig_memory_used_bytes"), _memory),
    _one("mig_utilization_ratio", lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100),
)


def fan_queries(device: Device) -> Iterator[Query]:
    """Yield a question for each fan; there are none on cards for servers."""
    try:
        count = nvml.nvmlDeviceGetNumFans(device)
    except nvml.NVMLError as error:
        if error.value in LOST | BROKEN:
            raise
        return
    for number in range(count):
        yield _one("fan_speed_ratio", _fan_speed(number), ("fan", str(number)))


def _fan_speed(number: int) -> Callable[[Device], float]:
    return lambda device: nvml.nvmlDeviceGetFanSpeed_v2(device, number) / 100


class Users:
    """Who uses a device: memory by executable, never by process id."""

    def __init__(self, device: Device, proc_root: str) -> None:
        self._device = device
        self._proc_root = proc_root
        self._lists: list[ProcessList] = [
            nvml.nvmlDeviceGetComputeRunningProcesses,
            nvml.nvmlDeviceGetGraphicsRunningProcesses,
        ]

    def read(self) -> dict[Key, float]:
        """Return the values of ``gpu_processes`` and ``gpu_process_memory_bytes``.

        Raises
        ------
        NVMLError
            If the driver does not tell this time.
        """
        used: dict[int, int] = {}
        for ask in tuple(self._lists):
            for process in self._listed(ask):
                used[process.pid] = max(used.get(process.pid, 0), process.usedGpuMemory or 0)
        if not self._lists:
            return {}
        values: dict[Key, float] = {("gpu_processes", ()): len(used)}
        for name, size in _largest(self._by_executable(used)).items():
            values["gpu_process_memory_bytes", (("executable", name),)] = size
        return values

    def _listed(self, ask: ProcessList) -> list[nvml.c_nvmlProcessInfo_t]:
        try:
            return ask(self._device)
        except nvml.NVMLError as error:
            if error.value not in UNSUPPORTED:
                raise
            self._lists.remove(ask)
            return []

    def _by_executable(self, used: dict[int, int]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for pid, size in used.items():
            name = executable(self._proc_root, pid)
            sums[name] = sums.get(name, 0) + size
        return sums


def _largest(sums: dict[str, int]) -> dict[str, int]:
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    told = {name: sums[name] for name in sorted(ranked[:EXECUTABLES])}
    rest = ranked[EXECUTABLES:]
    return told | {LABEL_OF_THE_OTHERS: sum(sums[name] for name in rest)} if rest else told


def executable(proc_root: str, pid: int) -> str:
    """Return the name of a process's program; its own name for itself where the program may not be seen."""
    try:
        path = os.readlink(f"{proc_root}/{pid}/exe").removesuffix(" (deleted)")
        name = os.fsencode(os.path.basename(path))
    except OSError:
        name = _comm(proc_root, pid)
    return name.decode("utf-8", "backslashreplace")[:NAME_LENGTH] or "(unknown)"


def _comm(proc_root: str, pid: int) -> bytes:
    try:
        with open(f"{proc_root}/{pid}/comm", "rb") as file:
            return file.read(NAME_LENGTH).rstrip(b"\n")
    except OSError:
        return b""


class Target:
    """A GPU or a MIG instance: which questions it answers, and what it said last to the slow ones."""

    def __init__(self, device: Device, labels: Labels, queries: Sequence[Query], users: Users | None) -> None:
        self._device = device
        self._labels = labels
        self._users = users
        self._queries = [Query(self._keys(query), query.ask, query.slow) for query in queries]
        self._latest: dict[Key, float] = {}
        self._used: dict[Key, float] = {}

    def read(self, *, slow: bool) -> dict[Key, float]:
        """Ask; questions that are not supported are never asked again.

        Raises
        ------
        NVMLError
            If the device is lost, or answers nothing at all.
        """
        outcomes = [self._ask(query) for query in tuple(self._queries) if slow or not query.slow]
        failure = next((error for error in outcomes if error and error.value not in UNSUPPORTED), None)
        if failure is not None and all(error is not None for error in outcomes):
            raise failure
        return self._latest | self._used_by(slow=slow)

    def _ask(self, query: Query) -> nvml.NVMLError | None:
        """Put a question and keep the answer; return why there is none."""
        try:
            answers = tuple(map(float, query.ask(self._device)))
        except nvml.NVMLError as error:
            if error.value in LOST | BROKEN:
                raise
            if error.value in UNSUPPORTED:
                self._forget(query)
            else:
                self._latest.update(dict.fromkeys(query.keys, NAN))
            return error
        self._latest.update(zip(query.keys, answers, strict=True))
        return None

    def _forget(self, query: Query) -> None:
        self._queries.remove(query)
        for key in query.keys:
            self._latest.pop(key, None)

    def _used_by(self, *, slow: bool) -> dict[Key, float]:
        if self._users is not None and slow:
            try:
                found = self._users.read()
            except nvml.NVMLError:
                self._used = dict.fromkeys(self._used, NAN)
            else:
                self._used = {(name, self._merged(labels)): value for (name, labels), value in found.items()}
        return self._used

    def _keys(self, query: Query) -> tuple[Key, ...]:
        return tuple((name, self._merged(labels)) for name, labels in query.keys)

    def _merged(self, labels: Labels) -> Labels:
        return tuple(sorted((*self._labels, *labels)))


class Xids:
    """Errors that the driver reports as events, counted since this process began."""

    def __init__(self) -> None:
        self._counts: dict[Labels, int] = {}
        self._latest: dict[Labels, int] = {}
        self._watched: dict[int | None, Labels] = {}
        self._events: nvml.c_nvmlEventSet_t | None = None

    def renew(self) -> None:
        """Begin anew with no GPU, after NVML was initialised; the counts go on."""
        self._watched = {}
        try:
            self._events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError:
            self._events = None

    def watch(self, device: Device, labels: Labels) -> None:
        """Listen to a GPU, if its driver tells."""
        if self._events is None:
            return
        try:
            nvml.nvmlDeviceRegisterEvents(device, nvml.nvmlEventTypeXidCriticalError, self._events)
        except nvml.NVMLError:
            return
        self._watched[_address(device)] = labels

    def read(self) -> dict[Key, float]:
        """Return how many there were, and the latest of each GPU; also of one that was lost since."""
        for _ in range(XIDS_PER_TURN):
            if not self._watched or not self._next():
                break
        values: dict[Key, float] = {}
        for labels in self._watched.values():
            values["gpu_xid_errors_total", labels] = self._counts.get(labels, 0)
            values["gpu_xid_last", labels] = self._latest.get(labels, 0)
        return values

    def _next(self) -> bool:
        try:
            event = nvml.nvmlEventSetWait(self._events, 0)
        except nvml.NVMLError:
            return False  # usually: nothing happened; a lost GPU is noticed by the other questions
        labels = self._watched.get(_address(event.device))
        if labels is not None:
            self._counts[labels] = self._counts.get(labels, 0) + 1
            self._latest[labels] = event.eventData
        return True


def _address(device: Device) -> int | None:
    return ctypes.cast(device, ctypes.c_void_p).value


class Gpu(NamedTuple):
    """A GPU with its MIG instances."""

    name: str
    targets: tuple[Target, ...]
    info: Key


class Driver:
    """NVML, initialised: all GPUs of the machine."""

    def __init__(self, proc_root: str) -> None:
        self._proc_root = proc_root
        self._xids = Xids()
        self._begin()

    def read(self) -> tuple[dict[Key, float], list[str]]:
        """Return the values of all GPUs, and why some could not be read.

        Raises
        ------
        NVMLError
            If there is no GPU any more, or the driver was replaced.
        """
        self._renew_if_needed()
        values: dict[Key, float] = {}
        for order, gpu in enumerate(tuple(self._gpus)):
            slow = self._turn == 0 or (self._turn + order) % SLOW_TURNS == 0
            values |= self._ask(gpu, slow=slow)
        self._turn += 1
        return values | self._xids.read(), list(self._lost.values())

    def _ask(self, gpu: Gpu, *, slow: bool) -> dict[Key, float]:
        values: dict[Key, float] = {gpu.info: 1.0}
        try:
            for target in gpu.targets:
                values |= target.read(slow=slow)
        except nvml.NVMLError as error:
            if error.value in BROKEN:
                raise
            self._gpus.remove(gpu)
            self._lose(gpu.name, error)
            return {}
        return values

    def _lose(self, name: str, error: nvml.NVMLError) -> None:
        self._lost[name] = f"{name} does not answer: {error}"
        self._renew_turn = self._turn + RENEW_TURNS

    def _renew_if_needed(self) -> None:
        due = bool(self._lost) and self._turn >= self._renew_turn
        changed = nvml.nvmlDeviceGetCount() != self._count
        partitioned = self._turn % SLOW_TURNS == 0 and self._partitions() != self._known_partitions
        if due or changed or partitioned:
            nvml.nvmlShutdown()
            self._begin()

    def _begin(self) -> None:
        nvml.nvmlInit()
        self._count = nvml.nvmlDeviceGetCount()
        if not self._count:
            raise nvml.NVMLError(nvml.NVML_ERROR_GPU_NOT_FOUND)
        self._turn = 0
        self._gpus: list[Gpu] = []
        self._lost: dict[str, str] = {}
        self._renew_turn = 0
        self._handles: dict[int, Device] = {}
        self._xids.renew()
        driver = nvml.nvmlSystemGetDriverVersion()
        for index in range(self._count):
            self._open(index, driver)
        self._known_partitions = self._partitions()

    def _open(self, index: int, driver: str) -> None:
        name = f"GPU {index}"
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            labels = (("gpu", str(index)), ("uuid", nvml.nvmlDeviceGetUUID(device)))
            model = nvml.nvmlDeviceGetName(device)
            info = ("gpu_info", (("driver", driver), *labels[:1], ("model", model), *labels[1:]))
            self._gpus.append(Gpu(name, tuple(self._targets(device, labels)), info))
        except nvml.NVMLError as error:
            if error.value in BROKEN:
                raise
            if error.value != nvml.NVML_ERROR_NO_PERMISSION:  # a container sees only the GPUs it was given
                self._lose(name, error)
            return
        self._handles[index] = device
        self._xids.watch(device, labels)

    def _targets(self, device: Device, labels: Labels) -> Iterator[Target]:
        instances = tuple(_instances(device))
        queries = (*QUERIES, *fan_queries(device))
        yield Target(device, labels, queries, None if instances else Users(device, self._proc_root))
        for instance in instances:
            name = f"{nvml.nvmlDeviceGetGpuInstanceId(instance)}/{nvml.nvmlDeviceGetComputeInstanceId(instance)}"
            own = (labels[0], ("mig", name), ("uuid", nvml.nvmlDeviceGetUUID(instance)))
            yield Target(instance, own, MIG_QUERIES, Users(instance, self._proc_root))

    def _partitions(self) -> dict[int, tuple[bool, list[str]]]:
        return {index: _partition(device) for index, device in self._handles.items()}


def _partition(device: Device) -> tuple[bool, list[str]]:
    """Return whether a GPU is in MIG mode, and its instances; of a lost one it does not matter."""
    try:
        return _partitioned(device), [nvml.nvmlDeviceGetUUID(instance) for instance in _instances(device)]
    except nvml.NVMLError as error:
        if error.value in BROKEN:
            raise
        return False, []


def _partitioned(device: Device) -> bool:
    """Tell whether a GPU is in MIG mode; most know no such thing."""
    try:
        return nvml.nvmlDeviceGetMigMode(device)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError as error:
        if error.value in BROKEN:
            raise
        return False


def _instances(device: Device) -> Iterator[Device]:
    """Yield the MIG instances of a GPU."""
    if not _partitioned(device):
        return
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, place)
        except nvml.NVMLError as error:
            if error.value in LOST | BROKEN:
                raise
            continue  # an empty place
        yield instance


def send(message: dict[str, object]) -> None:
    """Write one message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    rest = memoryview(struct.pack(">I", len(body)) + body)
    while rest:
        rest = rest[os.write(1, rest) :]


def answer(driver: Driver, questions: threading.Semaphore) -> None:
    """Answer one question after the other."""
    told: list[Key] | None = None
    while questions.acquire():
        values, lost = driver.read()
        message: dict[str, object] = {"values": list(values.values()), "lost": lost}
        keys = list(values)
        if keys != told:
            told = message["series"] = keys
        send(message)


def listen(questions: threading.Semaphore) -> None:
    """Count the questions; end the process with whoever asked."""
    while os.read(0, 1):
        questions.release()
    os._exit(0)


def main() -> None:
    """Answer until there is nothing to say or nobody to say it to."""
    questions = threading.Semaphore(0)
    threading.Thread(target=listen, args=(questions,), daemon=True).start()
    try:
        answer(Driver(sys.argv[2]), questions)
    except nvml.NVMLError as error:
        send({"absent" if error.value in ABSENT else "failed": str(error)})
    except Exception as error:  # noqa: BLE001 - whoever asked logs it; there is nobody here to read a traceback
        send({"failed": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)  # NVML's own end may hang too


if __name__ == "__main__":
    main()
