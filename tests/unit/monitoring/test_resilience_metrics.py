"""What Prometheus is shown: the promised names, few series, and text that its own parser reads."""

from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from collectors_dagster.monitoring.model_metrics import MOST_TENANTS, LatestScores
from collectors_dagster.monitoring.resilience_metrics import ResilienceCollector
from collectors_dagster.patterns.breaker_policy import Phase
from collectors_dagster.patterns.circuit_breaker import BreakerReport
from collectors_dagster.patterns.metrics import FAMILIES, Series
from collectors_dagster.patterns.overview import (
    BulkheadView,
    CircuitView,
    LeaderView,
    LimiterView,
    Overview,
    SharesView,
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(found: Overview) -> Samples:
    registry = CollectorRegistry()
    registry.register(ResilienceCollector(lambda: found))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_scores_of_any_number_of_tenants_are_few_series() -> None:
    latest = LatestScores()
    registry = CollectorRegistry()
    registry.register(latest)
    assert "ml_anomaly_score" in generate_latest(registry).decode()
    latest.take({f"t{number:04d}": number / 1000 for number in range(1000)})
    [family] = text_string_to_metric_families(generate_latest(registry).decode())
    values = {sample.labels["tenant"]: sample.value for sample in family.samples}
    assert len(values) == MOST_TENANTS + 1
    assert (values["t0007"], values["other"]) == (0.007, 0.999)


def circuit(name: str, phase: Phase, calls: int = 0, failures: int = 0, tenant: str = "shared") -> CircuitView:
    return CircuitView(
        name, tenant, BreakerReport(phase, 0.0, calls, failures, 0, 0, alone=False, history=(), transitions=3)
    )


def test_the_promised_names_are_there() -> None:
    found = Overview(
        circuits=[circuit("mlflow", Phase.OPEN, 4, 3), circuit("timescaledb", Phase.FORCED_OPEN)],
        limiters=[LimiterView("spotify", "", "bucket", 5.0, 0.0, 12.5, 1)],
        sums=Counter(
            {
                Series("circuit_breaker_calls_total", ("mlflow", "failure")): 3,
                Series("rate_limit_requests_total", ("spotify", "granted")): 7,
                Series("rate_limit_wait_time_seconds", ("spotify",), "0.01"): 5,
                Series("rate_limit_wait_time_seconds", ("spotify",), "+Inf"): 2,
                Series("rate_limit_wait_time_seconds", ("spotify",), "count"): 7,
                Series("rate_limit_wait_time_seconds", ("spotify",), "sum"): 33,
            }
        ),
    )
    samples = scraped(found)
    assert samples["circuit_breaker_state", (("name", "mlflow"), ("state", "open"))] == 1
    assert samples["circuit_breaker_state", (("name", "mlflow"), ("state", "closed"))] == 0
    assert samples["circuit_breaker_state", (("name", "timescaledb"), ("state", "forced_open"))] == 1
    assert samples["circuit_breaker_state", (("name", "redis"), ("state", "closed"))] == 1
    assert samples["circuit_breaker_calls_total", (("name", "mlflow"), ("result", "failure"))] == 3
    assert samples["rate_limit_requests_total", (("name", "spotify"), ("result", "granted"))] == 7
    assert samples["rate_limit_wait_time_seconds_bucket", (("le", "1.0"), ("name", "spotify"))] == 5
    assert samples["rate_limit_wait_time_seconds_bucket", (("le", "+Inf"), ("name", "spotify"))] == 7
    assert samples["rate_limit_wait_time_seconds_count", (("name", "spotify"),)] == 7
    assert samples["collectors_circuit_breaker_failure_ratio", (("name", "mlflow"),)] == 0.75
    assert samples["collectors_circuit_breaker_transitions_total", (("name", "mlflow"),)] == 3
    assert samples["collectors_rate_limit_banned_seconds", (("name", "spotify"),)] == 12.5


def test_circuits_of_one_service_are_counted_together() -> None:
    found = Overview(
        circuits=[
            circuit("notifications.ops.1", Phase.CLOSED, tenant="acme"),
            circuit("notifications.ops.2", Phase.OPEN, tenant="aurora"),
            circuit("notifications.web.3", Phase.OPEN, tenant="aurora"),
        ]
    )
    samples = scraped(found)
    assert samples["circuit_breaker_state", (("name", "notifications"), ("state", "open"))] == 2
    assert samples["circuit_breaker_state", (("name", "notifications"), ("state", "closed"))] == 1
    assert not [labels for _, labels in samples if "acme" in str(labels)]


def test_shared_state_that_is_away_is_an_open_circuit() -> None:
    samples = scraped(Overview(away={"": "timeout"}))
    assert samples["circuit_breaker_state", (("name", "redis"), ("state", "open"))] == 1
    assert samples["collectors_store_degraded", ()] == 1


def test_a_hundred_thousand_keys_are_fewer_than_two_hundred_series() -> None:
    found = Overview()
    for number in range(100_000):
        name, phase = f"key-{number}", list(Phase)[number % len(Phase)]
        found.circuits.append(circuit(name, phase, 1, 1, tenant=f"tenant-{number}"))
        found.limiters.append(LimiterView(name, "", "bucket", 1.0, 0.0, 1.0, 1))
        found.bulkheads.append(BulkheadView(name, "", 1, 1, 1))
        found.leaders.append(LeaderView(name, "", "one", 1, 1.0))
        found.shares.append(SharesView(name, ("one",), {}))
    for family in FAMILIES.values():
        if family.kind == "gauge":
            continue
        parts = [""] if family.kind == "counter" else ["sum", "count", *(f"{end:g}" for end in family.buckets)]
        for number in range(0, 100_000, 100 if family.labels[:1] == ("name",) else 100_000):
            labels = tuple([f"key-{number}", "success"][: len(family.labels)])
            found.sums.update({Series(family.name, labels, part): 1 for part in parts})
    samples = scraped(found)
    assert len(samples) < 200, len(samples)
    states = [value for (name, _), value in samples.items() if name == "circuit_breaker_state"]
    assert sum(states) == 100_001  # none is lost: redis is one more
