"""How signals and their values are said to people."""

import math

from collectors_dagster.records import Contribution

_SUFFIXES = ("_bytes_per_second", "_per_second", "_ratio", "_bytes")
_NAMES = {
    "cpu_utilization_ratio": "CPU utilization",
    "cpu_iowait_ratio": "CPU waiting for I/O",
    "load_per_cpu": "load per CPU",
    "pressure_cpu_ratio": "CPU pressure",
    "pressure_memory_ratio": "memory pressure",
    "pressure_io_ratio": "I/O pressure",
}


def signal_name(signal: str) -> str:
    """Return the signal's name in words.

    Examples
    --------
    >>> signal_name("cpu_utilization_ratio"), signal_name("disk_read_bytes_per_second")
    ('CPU utilization', 'disk read')
    """
    if signal in _NAMES:
        return _NAMES[signal]
    for suffix in _SUFFIXES:
        if signal.endswith(suffix):
            return signal.removesuffix(suffix).replace("_", " ")
    return signal.replace("_", " ")


def quantity(signal: str, value: float) -> str:
    """Return a value of `signal` with its unit.

    Examples
    --------
    >>> quantity("memory_used_ratio", 0.973), quantity("network_receive_bytes_per_second", 12_345_678.0)
    ('97 %', '12.3 MB/s')
    >>> quantity("load_per_cpu", 3.14159)
    '3.1'
    """
    if signal.endswith("_ratio"):
        return f"{100 * value:.0f} %" if abs(value) >= 0.095 or value == 0 else f"{100 * value:.1f} %"
    if signal.endswith("_bytes_per_second"):
        return f"{_bytes(value)}/s"
    return _bytes(value) if signal.endswith("_bytes") else f"{value:.1f}"


RAREST = 1_000_000
"""Nothing is said to be rarer: no history is long enough to know."""


def rarity_text(score: float) -> str:
    """Return how rare a score is, in words: a span of ten minutes scores so high once in so many.

    Examples
    --------
    >>> rarity_text(0.9), rarity_text(0.99)
    ('as rare as 1 in 100', 'as rare as 1 in 10,000')
    >>> rarity_text(1.0)
    'rarer than 1 in 1,000,000'
    """
    tail = (1.0 - score) ** 2
    if tail * RAREST < 1:
        return f"rarer than 1 in {RAREST:,}"
    spans = 1.0 / tail
    digits = 10 ** max(int(math.log10(spans)) - 1, 0)  # two figures are all that is known
    return f"as rare as 1 in {round(spans / digits) * digits:,}"


def _bytes(value: float) -> str:
    scaled = value
    for unit in ("B", "kB", "MB", "GB"):
        if abs(scaled) < 1000:
            return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1000
    return f"{scaled:.1f} TB"


def contribution_text(part: Contribution) -> str:
    """Return what was seen against what was expected, as far as anything is.

    Examples
    --------
    >>> contribution_text(Contribution("cpu_utilization_ratio", 0.99, 0.02, 0.31, 12.0))
    'CPU utilization 99 % (expected 2.0 % to 31 %)'
    """
    seen = quantity(part.signal, part.value)
    if not math.isfinite(part.expected_low) or not math.isfinite(part.expected_high):
        return f"{signal_name(part.signal)} {seen}"
    low, high = (quantity(part.signal, edge) for edge in (part.expected_low, part.expected_high))
    return f"{signal_name(part.signal)} {seen} (expected {low} to {high})"
