"""What the models say now, for Prometheus: one number per tenant, however many hosts it has."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collectors_dagster.patterns.metrics import OTHER

MOST_TENANTS = 50
"""Tenants with a series of their own; of the rest, in the order of their ids, the highest score is ``other``."""


class LatestScores(Collector):
    """The newest scores. The thread that scores gives them, those that serve read them.

    Examples
    --------
    >>> latest = LatestScores()
    >>> latest.take({"aurora": 0.42})
    >>> [(sample.name, sample.labels, sample.value) for family in latest.collect() for sample in family.samples]
    [('ml_anomaly_score', {'tenant': 'aurora'}, 0.42)]
    """

    def __init__(self) -> None:
        self._scores: Mapping[str, float] = {}

    def take(self, scores: Mapping[str, float]) -> None:
        """Put new scores in the place of the old ones: tenant to the highest of its hosts."""
        self._scores = dict(scores)

    def collect(self) -> Iterator[Metric]:
        """Yield the family; it is there, empty, also while nobody is scored."""
        gauge = GaugeMetricFamily(
            "ml_anomaly_score", "Highest anomaly score of a tenant's hosts over their last minute.", labels=("tenant",)
        )
        scores = sorted(self._scores.items())
        rest = [score for _, score in scores[MOST_TENANTS:]]
        for tenant_id, score in scores[:MOST_TENANTS]:
            gauge.add_metric((tenant_id,), score)
        if rest:
            gauge.add_metric((OTHER,), max(rest))
        yield gauge
