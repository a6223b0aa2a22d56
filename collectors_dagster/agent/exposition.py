"""Prometheus' text format, version 0.0.4, written from prepared lines.

What never changes between two scrapes (names, labels, help) is put together once per set of series; a scrape only
prints numbers into it, all of them in one formatting call.
"""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from collectors_dagster.collectors.runner import Column
from collectors_dagster.samples import Kind, Labels, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOST_PREFIX = "collectors_host_"
_RESERVED = ("_count", "_sum", "_bucket", "_total")
"""Endings that belong to histograms and counters; a gauge that carries one is named by its unit instead."""


class Family(NamedTuple):
    """All series of one name.

    Attributes
    ----------
    type : str
        ``counter``, ``gauge`` or ``histogram``.
    """

    name: str
    type: str
    help: str


def host_family(metric: Metric) -> Family:
    """Return the family under which a metric of the host is exposed.

    Examples
    --------
    >>> host_family(Metric("cpu_count", Kind.GAUGE, "cores", "Cores online.")).name
    'collectors_host_cpu_cores'
    >>> host_family(Metric("forks_total", Kind.COUNTER, "operations", "Processes started.")).name
    'collectors_host_forks_total'
    """
    name = _valid(HOST_PREFIX + metric.name)
    if metric.kind is Kind.COUNTER:
        return Family(name.removesuffix("_total") + "_total", "counter", metric.help)
    if name.endswith("_bits"):  # Prometheus knows no such unit; the little there is in bits says so in its help
        return Family(name.removesuffix("_bits"), "gauge", f"{metric.help} In bits.")
    ending = next((each for each in _RESERVED if name.endswith(each)), None)
    if ending:
        name, unit = name.removesuffix(ending), _valid(metric.unit)
        name = name if name.endswith(f"_{unit}") else f"{name}_{unit}"
    return Family(name, "gauge", metric.help)


@lru_cache(maxsize=1024)
def header(family: Family) -> str:
    """Return the two lines that come once before a family's samples."""
    return f"# HELP {family.name} {_help(family.help)}\n# TYPE {family.name} {family.type}\n"


@lru_cache(maxsize=4096)
def prefix(name: str, labels: Labels = ()) -> str:
    r"""Return a sample's line up to its value.

    Examples
    --------
    >>> prefix("collectors_host_disk_reads_total", (("device", 'odd"name'),))
    'collectors_host_disk_reads_total{device="odd\\"name"} '
    """
    if not labels:
        return f"{name} "
    inside = ",".join(f'{label}="{_label_value(value)}"' for label, value in labels)
    return f"{name}{{{inside}}} "


def samples(family: Family, values: Iterable[tuple[Labels, float]]) -> str:
    """Return a family that changes with every scrape."""
    return header(family) + "".join([f"{prefix(family.name, labels)}{number(value)}\n" for labels, value in values])


def number(value: float) -> str:
    """Return a value as the format writes it.

    Examples
    --------
    >>> number(2.5), number(float("inf")), number(7)
    ('2.5', '+Inf', '7')
    """
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if value != value else repr(value)  # noqa: PLR0124 - a NaN is what differs from itself


class HostPage:
    """The host's series as text, for one set of columns.

    A series that two collectors report is shown once, and of two metrics that would share a name but not a type
    the first: the format allows neither, and one clash must not cost the whole page.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        lines = _lines(columns)
        self._lines = lines
        self._pick = itemgetter(*(line.place for line in lines)) if len(lines) > 1 else None
        self._template = "".join(f"{_percent(line.before + line.prefix)}%r\n" for line in lines)

    def text(self, values: Sequence[float]) -> str:
        """Return the page; a series without a value (NaN) is left out."""
        if self._pick and math.isfinite(sum(values)):
            return str(self._template % self._pick(values))
        return "".join([_line(line, values[line.place]) for line in self._lines])


class _Line(NamedTuple):
    """One sample's line: what stands before its value, and where the value is found."""

    before: str
    prefix: str
    place: int


def _line(line: _Line, value: float) -> str:
    shown = "" if math.isnan(value) else f"{line.prefix}{number(value)}\n"
    return line.before + shown


def _lines(columns: Sequence[Column]) -> list[_Line]:
    families: dict[str, tuple[Family, dict[str, int]]] = {}
    for place, column in enumerate(columns):
        family = host_family(column.metric)
        known, members = families.setdefault(family.name, (family, {}))
        if known.type == family.type:
            members.setdefault(prefix(family.name, _host_labels(column.labels)), place)
    return [
        _Line(header(family) if first else "", start, place)
        for family, members in families.values()
        for first, (start, place) in _marked(members.items())
    ]


def _marked(items: Iterable[tuple[str, int]]) -> Iterable[tuple[bool, tuple[str, int]]]:
    return ((index == 0, item) for index, item in enumerate(items))


def _valid(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _host_labels(labels: Labels) -> Labels:
    """Return labels whose names the format takes, each once."""
    return tuple({_label_name(name): value for name, value in labels}.items())


def _label_name(name: str) -> str:
    """Return a valid name; two underscores in front belong to Prometheus itself, ``le`` to histograms."""
    valid = _valid(name).lstrip("_") or "label"
    return f"label_{valid}" if valid[0].isdigit() or valid == "le" else valid


def _label_value(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _percent(text: str) -> str:
    return text.replace("%", "%%")
