"""A host that delivers, without being one: samples every ten seconds, as its agent would send them."""

from datetime import datetime

from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryNote, DeliveryStore
from collectors_dagster.samples import Kind, Sample, SeriesKey

GIB = 2.0**30
RESOLUTION_SECONDS = 10.0


class DeliveringHost:
    """Four cores, half of the memory in use; only the load of the processors changes."""

    def __init__(self, delivery: DeliveryStore, tenant_id: str, host: str = "web-1") -> None:
        self._delivery = delivery
        self._tenant_id = tenant_id
        self._host = host
        self._seq = 0

    def deliver(self, end: datetime, cpu: float) -> None:
        """Deliver the interval that ends at `end`, with the share `cpu` of the processors busy."""
        self._seq += 1
        samples = [
            Sample(SeriesKey(self._host, collector, metric, labels, kind=kind), end, value)
            for collector, metric, labels, kind, value in self._values(cpu)
        ]
        notes = [
            DeliveryNote(self._host, collector, end.replace(minute=0, second=0), 1, 0.0, 100)
            for collector in sorted({sample.series.collector for sample in samples})
        ]
        batch = DeliveryBatch(f"agent-{self._host}", "epoch-1", self._tenant_id, self._seq, self._seq, samples, notes)
        self._delivery.deliver(batch)

    @staticmethod
    def _values(cpu: float) -> list[tuple[str, str, tuple[tuple[str, str], ...], Kind, float]]:
        rate, gauge = Kind.COUNTER, Kind.GAUGE
        return [
            ("cpu", "cpu_busy_seconds_per_second", (), rate, 4 * cpu),
            ("cpu", "cpu_iowait_seconds_per_second", (), rate, 0.01),
            ("cpu", "cpu_count", (), gauge, 4.0),
            ("load", "load1", (), gauge, 4 * cpu),
            ("memory", "memory_total_bytes", (), gauge, 16 * GIB),
            ("memory", "memory_available_bytes", (), gauge, 8 * GIB),
            ("network", "network_receive_bytes_per_second", (("interface", "eth0"),), rate, 2e4),
        ]
