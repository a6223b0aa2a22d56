"""The metrics of GPUs, and what others call the same thing."""

from dataclasses import replace
from typing import NamedTuple

from collectors_dagster.samples import Kind, Metric


class Elsewhere(NamedTuple):
    """Names of the same quantity in other systems; empty where there is none.

    Attributes
    ----------
    dcgm : str
        Field of NVIDIA's DCGM, as its Prometheus exporter writes it.
    otel : str
        Metric of OpenTelemetry's hardware conventions, with the attribute that tells it apart.
    """

    dcgm: str = ""
    otel: str = ""


def _gauge(name: str, unit: str, text: str, *, peak: bool = False) -> Metric:
    return Metric(f"gpu_{name}", Kind.GAUGE, unit, text, peak)


def _counter(name: str, unit: str, text: str, *, cumulative: bool = False) -> Metric:
    return Metric(f"gpu_{name}_total", Kind.COUNTER, unit, text, cumulative=cumulative)


_CATALOGUE: tuple[tuple[Metric, Elsewhere], ...] = (
    (
        _gauge("info", "devices", "1 for each GPU; labels name its model and the driver."),
        Elsewhere("DCGM_FI_DEV_NAME", "hw.status"),
    ),
    (
        _gauge("utilization_ratio", "ratio", "Share of time in which a kernel ran.", peak=True),
        Elsewhere("DCGM_FI_DEV_GPU_UTIL", 'hw.gpu.utilization{hw.gpu.task="general"}'),
    ),
    (
        _gauge("memory_busy_ratio", "ratio", "Share of time in which the device's memory was read or written."),
        Elsewhere("DCGM_FI_DEV_MEM_COPY_UTIL"),
    ),
    (
        _gauge("encoder_utilization_ratio", "ratio", "Share of time in which the video encoder worked."),
        Elsewhere("DCGM_FI_DEV_ENC_UTIL", 'hw.gpu.utilization{hw.gpu.task="encoder"}'),
    ),
    (
        _gauge("decoder_utilization_ratio", "ratio", "Share of time in which the video decoder worked."),
        Elsewhere("DCGM_FI_DEV_DEC_UTIL", 'hw.gpu.utilization{hw.gpu.task="decoder"}'),
    ),
    (
        _gauge("memory_total_bytes", "bytes", "Memory of the device."),
        Elsewhere("DCGM_FI_DEV_FB_TOTAL", "hw.gpu.memory.limit"),
    ),
    (
        _gauge("memory_used_bytes", "bytes", "Memory allocated by programs.", peak=True),
        Elsewhere("DCGM_FI_DEV_FB_USED", "hw.gpu.memory.usage"),
    ),
    (
        _gauge("memory_reserved_bytes", "bytes", "Memory that driver and firmware keep for themselves."),
        Elsewhere("DCGM_FI_DEV_FB_RESERVED"),
    ),
    (
        _gauge("power_watts", "watts", "Power drawn by the board.", peak=True),
        Elsewhere("DCGM_FI_DEV_POWER_USAGE", 'hw.power{hw.type="gpu"}'),
    ),
    (
        _gauge("power_limit_watts", "watts", "Power limit in force."),
        Elsewhere("DCGM_FI_DEV_ENFORCED_POWER_LIMIT"),
    ),
    (
        _counter("energy_joules", "joules", "Energy drawn since the driver was loaded.", cumulative=True),
        Elsewhere("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 'hw.energy{hw.type="gpu"}'),
    ),
    (
        _gauge("temperature_celsius", "celsius", "Temperature of the chip.", peak=True),
        Elsewhere("DCGM_FI_DEV_GPU_TEMP", "hw.temperature"),
    ),
    (
        _gauge("memory_temperature_celsius", "celsius", "Temperature of the memory, where it has a sensor.", peak=True),
        Elsewhere("DCGM_FI_DEV_MEMORY_TEMP", "hw.temperature"),
    ),
    (
        _gauge("clock_hertz", "hertz", "Clock of the graphics, sm, memory or video domain."),
        Elsewhere("DCGM_FI_DEV_SM_CLOCK, DCGM_FI_DEV_MEM_CLOCK, DCGM_FI_DEV_VIDEO_CLOCK"),
    ),
    (
        _gauge("clock_limit_hertz", "hertz", "Highest clock of the domain."),
        Elsewhere("DCGM_FI_DEV_MAX_SM_CLOCK, DCGM_FI_DEV_MAX_MEM_CLOCK, DCGM_FI_DEV_MAX_VIDEO_CLOCK"),
    ),
    (
        _gauge(
            "throttle_ratio", "ratio", "1 while the reason holds the clocks down, else 0; its mean is a share of time."
        ),
        Elsewhere("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"),
    ),
    (
        _gauge("performance_state", "state", "P-state: 0 is the fastest, 15 the slowest."),
        Elsewhere("DCGM_FI_DEV_PSTATE"),
    ),
    (
        _gauge("fan_speed_ratio", "ratio", "Intended speed of a fan, as a share of its full speed."),
        Elsewhere("DCGM_FI_DEV_FAN_SPEED", "hw.fan.speed_ratio"),
    ),
    (
        _counter(
            "ecc_errors",
            "errors",
            "Memory errors since the driver was loaded, corrected or uncorrected.",
            cumulative=True,
        ),
        Elsewhere("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL, DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 'hw.errors{hw.type="gpu"}'),
    ),
    (
        _gauge("ecc_aggregate_errors", "errors", "Memory errors in the life of the GPU, corrected or uncorrected."),
        Elsewhere("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL, DCGM_FI_DEV_ECC_DBE_AGG_TOTAL"),
    ),
    (
        _gauge("retired_pages", "pages", "Memory pages retired after single-bit or double-bit errors."),
        Elsewhere("DCGM_FI_DEV_RETIRED_SBE, DCGM_FI_DEV_RETIRED_DBE"),
    ),
    (
        _gauge("retired_pages_pending", "state", "1 if pages wait for a reboot to be retired, else 0."),
        Elsewhere("DCGM_FI_DEV_RETIRED_PENDING"),
    ),
    (
        _gauge("remapped_rows", "rows", "Memory rows remapped after corrected or uncorrected errors."),
        Elsewhere("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS, DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"),
    ),
    (
        _gauge("remapped_rows_pending", "state", "1 if rows wait for a reset to be remapped, else 0."),
        Elsewhere("DCGM_FI_DEV_ROW_REMAP_PENDING"),
    ),
    (
        _gauge("remapped_rows_failed", "state", "1 if a row could not be remapped: replace the GPU; else 0."),
        Elsewhere("DCGM_FI_DEV_ROW_REMAP_FAILURE"),
    ),
    (
        _gauge(
            "pcie_transmit_bytes_per_second", "bytes_per_second", "Sent over PCIe: a sample of 20 ms every 5 readings."
        ),
        Elsewhere("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", 'hw.gpu.io{network.io.direction="transmit"}'),
    ),
    (
        _gauge(
            "pcie_receive_bytes_per_second",
            "bytes_per_second",
            "Received over PCIe: a sample of 20 ms every 5 readings.",
        ),
        Elsewhere("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", 'hw.gpu.io{network.io.direction="receive"}'),
    ),
    (
        _counter("pcie_replays", "operations", "PCIe packets sent again."),
        Elsewhere("DCGM_FI_DEV_PCIE_REPLAY_COUNTER"),
    ),
    (
        _gauge("pcie_link_generation", "generation", "Generation of PCIe that the link runs at."),
        Elsewhere("DCGM_FI_DEV_PCIE_LINK_GEN"),
    ),
    (
        _gauge("pcie_link_generation_limit", "generation", "Highest generation that GPU and slot can do."),
        Elsewhere("DCGM_FI_DEV_PCIE_MAX_LINK_GEN"),
    ),
    (
        _gauge("pcie_link_width", "lanes", "Lanes of the PCIe link in use."),
        Elsewhere("DCGM_FI_DEV_PCIE_LINK_WIDTH"),
    ),
    (
        _gauge("pcie_link_width_limit", "lanes", "Lanes that GPU and slot have."),
        Elsewhere("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH"),
    ),
    (
        _counter("xid_errors", "errors", "Errors that the driver reported (XID) while we looked.", cumulative=True),
        Elsewhere("", 'hw.errors{hw.type="gpu"}'),
    ),
    (
        _gauge("xid_last", "code", "Code of the latest of them, 0 before the first."),
        Elsewhere("DCGM_FI_DEV_XID_ERRORS"),
    ),
    (_gauge("processes", "processes", "Processes that use the GPU."), Elsewhere()),
    (
        _gauge("process_memory_bytes", "bytes", "Memory of the GPU held by processes of one executable."),
        Elsewhere(),
    ),
    (
        _gauge("mig_memory_total_bytes", "bytes", "Memory of a MIG instance."),
        Elsewhere("DCGM_FI_DEV_FB_TOTAL (GPU_I_ID)", "hw.gpu.memory.limit"),
    ),
    (
        _gauge("mig_memory_used_bytes", "bytes", "Memory of a MIG instance allocated by programs.", peak=True),
        Elsewhere("DCGM_FI_DEV_FB_USED (GPU_I_ID)", "hw.gpu.memory.usage"),
    ),
    (
        _gauge("mig_utilization_ratio", "ratio", "Share of time in which a kernel ran, where the driver tells it."),
        Elsewhere("", 'hw.gpu.utilization{hw.gpu.task="general"}'),
    ),
)

METRICS: tuple[Metric, ...] = tuple(
    replace(metric, exporter=elsewhere.dcgm or None, otel=elsewhere.otel or None) for metric, elsewhere in _CATALOGUE
)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
NAMES_ELSEWHERE: dict[str, Elsewhere] = {metric.name: elsewhere for metric, elsewhere in _CATALOGUE}
"""For each metric what DCGM and OpenTelemetry call it. Units differ: DCGM tells percent, MiB, MHz and millijoules."""
