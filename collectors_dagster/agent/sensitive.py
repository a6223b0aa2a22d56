"""Which series nobody but a holder of the key may read: what ``agent.sensitive`` names."""

from collections.abc import Iterable

from collectors_dagster.collectors.protocol import Collector
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.logs import get_logger
from collectors_dagster.samples import Metric

ANY_SOURCE = "*"

log = get_logger("spool")


class Sensitive:
    """Recognises sensitive series by their names.

    Parameters
    ----------
    names : iterable of str
        A source (``process``), a metric as it is sampled or as it is delivered (``load1``), or a label of a source's
        series (``process.user``; ``*.user`` for those of every source): a series that carries it is sensitive whole.

    Examples
    --------
    >>> from collectors_dagster.samples import Kind, Metric
    >>> column = Column("process", Metric("process_threads", Kind.GAUGE, "threads", ""), (("user", "ada"),))
    >>> [Sensitive([name]).covers(column) for name in ("process.user", "*.user", "process.cgroup", "load1")]
    [True, True, False, False]
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = tuple(names)
        self._whole = frozenset(name for name in self.names if "." not in name)
        self._labels = [(name, *name.split(".", 1)) for name in self.names if "." in name]
        self._missed: set[str] = set()

    def covers(self, column: Column) -> bool:
        """Tell whether a series is sensitive; one that was marked before stays so."""
        if column.metric.sensitive or not self._whole.isdisjoint((column.collector, *_names(column.metric))):
            return True
        carried = {label for label, _ in column.labels}
        return any(label in carried and source in {ANY_SOURCE, column.collector} for _, source, label in self._labels)

    def check(self, collectors: Iterable[Collector]) -> None:
        """Refuse names that can mean nothing here: a slip of the pen must not leave a secret in the open.

        Raises
        ------
        ConfigurationError
            If a name is neither a source, nor a metric of one, nor a label of a source.
        """
        made = list(collectors)
        sources = {one.name for one in made}
        metrics = {name for one in made for metric in one.metrics for name in _names(metric)}
        labelled = {name for name, source, _ in self._labels if source in {ANY_SOURCE, *sources}}
        unknown = [name for name in self.names if name not in sources | metrics | labelled]
        if unknown:
            raise ConfigurationError(
                f"agent.sensitive: {', '.join(unknown)}: no source, metric or label of a source of this agent; "
                f"`collectors agent catalogue` lists them, a label is written source.label"
            )

    def miss(self, columns: Iterable[Column]) -> None:
        """Warn, once each, of labels that no series carries although their source has series: only a sweep can tell."""
        seen = [(column.collector, {label for label, _ in column.labels}) for column in columns]
        for name, source, label in self._labels:
            mine = [labels for collector, labels in seen if source in {ANY_SOURCE, collector}]
            if name not in self._missed and mine and not any(label in labels for labels in mine):
                self._missed.add(name)
                log.warning("agent.sensitive names a label that no series carries", name=name)


def _names(metric: Metric) -> tuple[str, ...]:
    """Return a metric's name and those under which it is delivered."""
    return (metric.name, metric.delivered_name, *([f"{metric.name}_max"] if metric.peak else []))
