"""Everything that may be measured, as data and as the page ``docs/metrics.md``, from the collectors themselves.

``python -m collectors_dagster.agent.catalogue`` prints the page; with ``write`` it writes it into the checkout.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collectors_dagster.agent.own import Own
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import COLLECTORS
from collectors_dagster.collectors.portable import PORTABLE
from collectors_dagster.collectors.protocol import EVERY_SWEEP, CollectorFactory, Host, cadence_of
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.samples import Kind, Metric

_LINES_BEFORE_METRICS = """\
# Metrics

Written by `python -m collectors_dagster.agent.catalogue write`; a test compares it with the code.
`collectors agent catalogue` prints the same, with `--json` for programs. What policies count (circuits, rate limits,
repetitions) is in [resilience.md](resilience.md#metrics).

The agent reads these on its host, once a second where nothing else is said, and keeps them in its flight recorder. A
source with an interval of its own is never read more often, however short `agent.sample_interval_seconds` and whatever
pacing asks for: that is the limit to what it costs. (Deliveries and notifications are limited by
`patterns.rate_limiter`.) A tenant receives those of the collectors named in its file, in the part of the host that it
observes ([scopes.md](scopes.md)), that are *stored* always, and the others too if its file says `detail: true`; at its
own resolution: of a **gauge** the mean over the interval, of a **counter** the exact rate per second under the name in
the column *in the database*. A gauge marked *max* is stored a second time with the interval's maximum, as `<name>_max`.
A counter marked *total* is stored a second time under its own name, as a gauge, with what it stood at when the interval
ended: energy, which is paid for by the total, and errors and kills so rare that each of them counts, those too that
happened while the agent did not run. Either takes a second place within `max_series`. A metric's name, kind and unit
never change; new ones are added beside.

What the kernel, the hardware or the platform does not tell is left out, never shown as zero. The last columns say what
the same thing is called by the Prometheus exporter of its field (`node_exporter` for the host, NVIDIA's DCGM exporter
for GPUs, cAdvisor for cgroups, process-exporter for processes; `*` stands for several names, told apart here by a
label; some need an option there) and in OpenTelemetry's conventions and host receiver, and whether psutil counts it
too, which stands in on macOS and Windows, as far as they tell it.
"""
HEAD = (
    *("metric", "kind", "unit", "meaning", "in the database", "stored"),
    *("Prometheus exporter", "OpenTelemetry", "portable"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric that a collector may report.

    Attributes
    ----------
    portable : bool
        psutil counts it too, as far as the platform does: what is known elsewhere than on Linux.
    """

    collector: str
    metric: Metric
    portable: bool

    def as_json(self) -> dict[str, str | bool | None]:
        """Return the entry for programs."""
        metric = self.metric
        return {
            "collector": self.collector,
            "metric": metric.name,
            "kind": metric.kind,
            "unit": metric.unit,
            "help": metric.help,
            "delivered_name": metric.delivered_name,
            "delivered_unit": metric.delivered_unit,
            "peak": metric.peak,
            "cumulative": metric.cumulative,
            "detail": metric.detail,
            "exporter": metric.exporter,
            "opentelemetry": metric.otel,
            "portable": self.portable,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """A collector as far as the catalogue goes."""

    name: str
    metrics: tuple[Metric, ...]
    about: str
    interval_seconds: float


def catalogue() -> list[Entry]:
    """Return all metrics, in the order in which a sweep reads their collectors."""
    portable = {metric for source in _sources(PORTABLE) for metric in source.metrics}
    return [
        Entry(source.name, metric, metric in portable) for source in _sources(COLLECTORS) for metric in source.metrics
    ]


def metrics_page() -> str:
    """Return the catalogue in Markdown."""
    return _LINES_BEFORE_METRICS + "".join(_sections())


def _sources(factories: list[CollectorFactory]) -> list[Source]:
    """Look at collectors, which opens nothing before they are read; the agent itself is read everywhere."""
    host = Host(SystemClock())
    made = [factory(host) for factory in factories]
    found = [
        Source(one.name, one.metrics, inspect.getdoc(type(one)) or "", cadence_of(one).interval_seconds) for one in made
    ]
    return [*found, Source(Own.name, Own.metrics, inspect.getdoc(Own) or "", EVERY_SWEEP)]


def _sections() -> Iterator[str]:
    entries = catalogue()
    for source in _sources(COLLECTORS):
        summary = source.about.partition("\n")[0]
        pace = f" Read {_pace(source.interval_seconds)} at most." if source.interval_seconds else ""
        yield f"\n## {source.name}\n\n{summary}{pace}\n\n"
        yield _as_row(HEAD) + _as_row(("---",) * len(HEAD))
        yield from (_row(entry) for entry in entries if entry.collector == source.name)


def _row(entry: Entry) -> str:
    metric = entry.metric
    cells = (
        f"`{metric.name}`",
        _kind(metric),
        metric.unit,
        metric.help,
        _delivered(metric),
        "with detail" if metric.detail else "always",
        _foreign(metric.exporter),
        _foreign(metric.otel),
        "yes" if entry.portable else "no",
    )
    return _as_row(cells)


def _pace(seconds: float) -> str:
    return "once a second" if seconds == 1 else f"every {seconds:g} seconds"


def _kind(metric: Metric) -> str:
    marks = [word for word, is_set in (("max", metric.peak), ("total", metric.cumulative)) if is_set]
    return ", ".join((metric.kind, *marks))


def _delivered(metric: Metric) -> str:
    if metric.kind is Kind.GAUGE:
        return "the same"
    return f"`{metric.delivered_name}`, and the same" if metric.cumulative else f"`{metric.delivered_name}`"


def _as_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _foreign(name: str | None) -> str:
    return f"`{name}`" if name else "none"


def main(arguments: list[str]) -> int:
    """Print the page, or write it."""
    if arguments == ["write"]:
        (PROJECT_ROOT / "docs" / "metrics.md").write_text(metrics_page(), encoding="utf-8")
    elif arguments:
        sys.stderr.write(f"unknown: {' '.join(arguments)}; use write, or nothing to print the page\n")
        return 2
    else:
        sys.stdout.write(metrics_page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
