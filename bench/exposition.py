"""What a scrape's text costs: this host's series in Prometheus' format, in processor time of this process.

The peer is the official client's ``generate_latest`` over the same families and values, called in turn with ours so
that a busy moment hits both; the least of the rounds counts. Figures are per 250 series, whatever this host has.
"""

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector as PrometheusCollector

from bench.report import Goal, Report, main
from collectors_dagster.agent.exposition import HostPage, host_family
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.collectors.runner import Column, Runner

SERIES = 250
ROUNDS = 25
CALLS = 40


class General(PrometheusCollector):
    """The same series, as a custom collector of the official client hands them out."""

    def __init__(self, columns: Sequence[Column], values: "array[float]") -> None:
        self._values = values
        self._series = [(host_family(column.metric), dict(column.labels)) for column in columns]

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        families: dict[str, Metric] = {}
        for (family, labels), value in zip(self._series, self._values, strict=True):
            known = families.get(family.name)
            if known is None:
                known = families[family.name] = Metric(family.name.removesuffix("_total"), family.help, family.type)
            known.add_sample(family.name, labels, value)
        yield from families.values()


def milliseconds(call: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) / CALLS * 1e3


def measure() -> Report:
    """Render one sweep in both ways, in turn."""
    clock = SystemClock()
    runner = Runner(collectors_of(Host(clock)), clock)
    columns, values = runner.sweep()
    runner.close()
    registry = CollectorRegistry()
    registry.register(General(columns, values))
    page = HostPage(columns)
    gc.disable()
    rounds = [
        (milliseconds(lambda: page.text(values)), milliseconds(lambda: generate_latest(registry)))
        for _ in range(ROUNDS)
    ]
    ours, peer = (min(each) * SERIES / len(columns) for each in zip(*rounds, strict=True))
    goals = (
        Goal(f"text of {SERIES} series, CPU ms", ours, 0.1),
        Goal("text / prometheus_client's", ours / peer, 0.2),
    )
    detail = {"cpu_ms": {"ours": ours, "peer": peer}, "series_of_this_host": len(columns)}
    return Report("exposition", goals, detail)


if __name__ == "__main__":
    main(measure, __doc__)
