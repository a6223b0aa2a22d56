"""What is measured: metrics, series, readings, and the names under which they are delivered.

A *reading* is what a collector sees at one instant (a counter's cumulative value). A *sample* is
what the database holds: gauges as the mean over the tenant's resolution (and the maximum where a
peak matters), counters as the exact per-second rate over the interval's own monotonic clock (and the
counter itself where its total is asked for).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Labels = tuple[tuple[str, str], ...]
"""Label pairs sorted by name, e.g. ``(("device", "vda"),)``."""


class Kind(StrEnum):
    """How a metric behaves over time."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's promise: name and unit never change, new ones are added beside it.

    Attributes
    ----------
    name : str
        Base units, unit last; counters end in ``_total``.
    unit : str
        ``seconds``, ``bytes``, ``ratio``, ``operations``, ...
    peak : bool
        Deliver the maximum of the interval too, as ``<name>_max`` (gauges only).
    cumulative : bool
        Deliver the counter itself too, under its own name: its last value in the interval (counters only). For what is
        paid for by the total, and for events so rare that each of them counts: a rate loses those that happen while
        nobody looks, the total does not.
    detail : bool
        Recorded on the host like any other, but stored only for tenants that ask for detail.
    sensitive : bool
        Sealed where it is kept on the host's disk: what ``agent.sensitive`` names.
    exporter, otel : str or None
        What its Prometheus exporter (node_exporter, DCGM for GPUs, cAdvisor for cgroups, process-exporter) and
        OpenTelemetry call it; None if nothing. One may stand for several of ours, told apart by its labels.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    peak: bool = False
    detail: bool = False
    exporter: str | None = None
    otel: str | None = None
    cumulative: bool = False
    sensitive: bool = False

    @property
    def has_companion(self) -> bool:
        """Whether each of its series is delivered as two: beside it the maximum, or the total."""
        return self.peak or self.cumulative

    @property
    def delivered_name(self) -> str:
        """Name in the database.

        Examples
        --------
        >>> Metric("disk_read_bytes_total", Kind.COUNTER, "bytes", "").delivered_name
        'disk_read_bytes_per_second'
        >>> Metric("load1", Kind.GAUGE, "processes", "").delivered_name
        'load1'
        """
        if self.kind is Kind.GAUGE:
            return self.name
        return self.name.removesuffix("_total") + "_per_second"

    @property
    def delivered_unit(self) -> str:
        """Unit in the database: counters become rates."""
        return self.unit if self.kind is Kind.GAUGE else f"{self.unit}_per_second"


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """One series of one tenant: where it comes from, what it is, which labels it carries."""

    host: str
    collector: str
    metric: str
    labels: Labels = ()
    unit: str = ""
    kind: Kind = Kind.GAUGE


@dataclass(frozen=True, slots=True)
class Sample:
    """One delivered value. `ts` is the END of the interval, aware, UTC."""

    series: SeriesKey
    ts: datetime
    value: float
