"""The agent's pages, of real parts with a few made-up collectors."""

import gc
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from time import process_time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector as PrometheusCollector

from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.exposition import HostPage
from collectors_dagster.agent.health import LATE_INTERVALS, LATE_SECONDS
from collectors_dagster.agent.http_request import Request
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.observed import Observed
from collectors_dagster.agent.pages import MAX_METRICS_ASKED, Pages
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.self_metrics import Parts
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Column, Runner
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.integrations.timescale.delivery import DeliveryStore
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.samples import Kind, Metric
from tests.support.spools import open_spool

SERIES_OF_A_HOST = 250


class Broken:
    """A collector whose source is away."""

    name = "broken"
    metrics = ()

    def read(self) -> Reading:
        raise SourceUnavailableError("the source is away", source=self.name)

    def close(self) -> None:
        """Nothing is held."""


class Devices:
    """A collector of counters that grow."""

    name = "devices"

    def __init__(self, clock: ManualClock, series: int = 3) -> None:
        self.metrics = (Metric("things_total", Kind.COUNTER, "bytes", "Things."),)
        self._clock = clock
        self._series = tuple(Series(self.metrics[0], (("device", f"d{number}"),)) for number in range(series))

    def read(self) -> Reading:
        now = self._clock.monotonic()
        return Reading(self._series, [now * 1.1 + number for number in range(len(self._series))])

    def close(self) -> None:
        """Nothing is held."""


class Agent:
    """The parts of an agent that its pages tell of."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.clock = clock
        breaker = CircuitBreaker("delivery", BreakerPolicy(1, 1), classify=failed_if_transient, clock=clock)
        policies = Policies(
            breaker,
            local_rate_limiter("d", RatePolicy(1, 1), clock=clock),
            Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 0.5),
        )
        identity = Identity("agent-1", directory.name, "host-1", directory.parent)
        self.runner = Runner([Devices(clock), Broken()], clock)
        self.spool = open_spool(directory, clock)
        self.sampler = Sampler(self.runner, self.spool, clock)
        self.observed = Observed(clock.monotonic())
        parts = Parts(
            identity=identity,
            started_at=clock.now(),
            interval_seconds=1.0,
            clock=clock,
            sampler=self.sampler,
            runner=self.runner,
            spool=self.spool,
            delivery=Delivery(
                identity, _no_store, policies, clock, sample_interval_seconds=1.0, quarantine_bytes=65_536
            ),
            breaker=breaker,
            observed=self.observed,
        )
        self.problems: tuple[str, ...] = ()
        self.pages = Pages(parts, lambda: {"agent_id": "agent-1"}, lambda: self.problems)

    def sweep(self) -> None:
        self.clock.move(1.0)
        self.sampler.sweep()
        assert self.sampler.newest is not None
        lost = self.spool.statistics.lost_records
        self.observed.swept(self.sampler.newest, self.runner.tallies, self.clock.monotonic(), 0.003, lost)

    def asked(self, path: str, query: str = "") -> tuple[HTTPStatus, str]:
        answer = self.pages.answer(Request("GET", path, query))
        return answer.status, answer.body.decode()


def _no_store() -> DeliveryStore:
    raise AssertionError("the pages ask no database")


@pytest.fixture
def agent(tmp_path: Path, manual_clock: ManualClock) -> Agent:
    (tmp_path / "epoch").mkdir()
    return Agent(tmp_path / "epoch", manual_clock)


def values(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_failures_successes_and_durations_are_counted_per_collector(agent: Agent) -> None:
    for _ in range(12):
        agent.sweep()
    found = values(agent.pages.metrics())
    assert found["collector_data_points_collected_total/devices"] == 36
    assert found["collector_errors_total/broken/SourceUnavailableError"] == 10
    assert found["collector_skipped_readings_total/broken"] == 2
    assert found["circuit_breaker_state/collector_broken/open"] == 1
    assert found["circuit_breaker_state/collector_broken/closed"] == 0
    assert found["circuit_breaker_state/delivery/closed"] == 1
    assert found["collector_execution_duration_seconds_count/devices"] == 12
    assert found["collectors_agent_sweep_duration_seconds_bucket/0.0025"] == 0
    assert found["collectors_agent_sweep_duration_seconds_bucket/0.005"] == 12
    assert found["collectors_host_things_total/d2"] == pytest.approx(12 * 1.1 + 2)
    assert "collector_last_success_timestamp_seconds/broken" not in found


def test_health_follows_the_age_of_the_last_sweep(agent: Agent) -> None:
    agent.sweep()
    assert agent.asked("/health")[0] == HTTPStatus.OK
    agent.clock.move(LATE_INTERVALS + LATE_SECONDS + 0.1)
    status, text = agent.asked("/health")
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "due every 1 s" in json.loads(text)["failing"][0]
    agent.sweep()
    assert agent.asked("/health")[0] == HTTPStatus.OK


def test_what_is_wrong_besides_is_told_with_200(agent: Agent) -> None:
    agent.problems = ("tenants/x.yml: bad",)
    agent.sweep()
    status, text = agent.asked("/health")
    assert status == HTTPStatus.OK
    assert json.loads(text)["degraded"] == ["collector broken: the source is away", "tenants/x.yml: bad"]


def test_the_state_holds_every_series_and_the_history_those_asked_for(agent: Agent) -> None:
    for _ in range(3):
        agent.sweep()
    state = json.loads(agent.asked("/v1/state")[1])
    assert [each["labels"]["device"] for each in state["series"]] == ["d0", "d1", "d2"]
    assert state["taken"]["devices"] == agent.clock.monotonic()
    history = json.loads(agent.asked("/v1/history", "metrics=things_total,nothing")[1])
    assert [len(sweep["series"]) for sweep in history["sweeps"]] == [3, 3, 3]
    assert json.loads(agent.asked("/v1/history", "metrics=nothing")[1])["sweeps"][0]["series"] == []


@pytest.mark.parametrize("query", ["", "metrics=", "other=1", "metrics=" + ",".join(map(str, range(99)))])
def test_a_history_of_nothing_or_of_too_much_is_refused(agent: Agent, query: str) -> None:
    status, text = agent.asked("/v1/history", query)
    assert status == HTTPStatus.BAD_REQUEST
    assert str(MAX_METRICS_ASKED) in text


def test_another_path_is_404_and_names_what_there_is(agent: Agent) -> None:
    status, text = agent.asked("/metric")
    assert status == HTTPStatus.NOT_FOUND
    assert "/metrics" in text
    assert agent.asked("/")[0] == HTTPStatus.OK


def test_text_costs_a_fraction_of_the_general_renderer(manual_clock: ManualClock) -> None:
    reading = Devices(manual_clock, SERIES_OF_A_HOST).read()
    columns = [Column("devices", series.metric, series.labels) for series in reading.series]
    page = HostPage(columns)

    class General(PrometheusCollector):
        def collect(self) -> list[CounterMetricFamily]:
            family = CounterMetricFamily("things", "Things.", labels=["device"])
            for column, value in zip(columns, reading.values, strict=True):
                family.add_metric([column.labels[0][1]], value)
            return [family]

    registry = CollectorRegistry()
    registry.register(General())
    ours = cost(lambda: page.text(reading.values))
    assert ours < cost(lambda: generate_latest(registry)) / 4


def cost(call: Callable[[], object]) -> float:
    """Return the least processor time of a call."""
    gc.collect()
    times = []
    for _ in range(15):
        begun = process_time()
        for _ in range(20):
            call()
        times.append(process_time() - begun)
    return min(times)
