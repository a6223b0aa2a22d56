import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import cast

import numpy as np
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ModelError, ServiceUnreachableError, SharedStateUnavailableError
from collectors_dagster.features.axis import minute_axis
from collectors_dagster.features.signals import METRICS, SIGNALS, signals_from_buckets
from collectors_dagster.frames import SignalFrame
from collectors_dagster.integrations.digests import directory_digest
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.claims import Claims
from collectors_dagster.integrations.timescale.reading import Edge, Resolution, Selection
from collectors_dagster.models.anomaly import HostDetector, TenantDetector
from collectors_dagster.patterns.leadership import Shares
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.patterns.shared_state import Reply, SharedStore
from collectors_dagster.records import Incident, IncidentEventKind, ModelState, Verdict, Window
from collectors_dagster.scorer.champions import Champions
from collectors_dagster.scorer.division import GROUP, Division
from collectors_dagster.scorer.scorer import Scorer
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.hosts import DeliveringHost
from tests.support.postgres import PostgresServer, restarted
from tests.support.waiting import wait_until

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora")
OPENED, RESOLVED = IncidentEventKind.OPENED, IncidentEventKind.RESOLVED


@dataclass
class Directory:
    """The configured tenants, changed by hand."""

    tenants: tuple[Tenant, ...]

    def current(self) -> TenantDirectory:
        return TenantDirectory(self.tenants)


@dataclass(frozen=True)
class Bundle:
    path: Path
    version: str

    @property
    def digest(self) -> str:
        return directory_digest(self.path)


class Registry:
    """A model registry that has, has not, or is away."""

    def __init__(self, bundle: Bundle | None = None) -> None:
        self.bundle = bundle
        self.away = False

    def champion(self, tenant_id: str, kind: str, cache_dir: Path) -> Bundle | None:
        if self.away:
            raise ServiceUnreachableError("MLflow is away", service="mlflow", operation="champion")
        return self.bundle


class Stage:
    """A scorer, its clock and its surroundings."""

    def __init__(
        self,
        database: SecretStr,
        home: Path,
        clock: ManualClock,
        *tenants: Tenant,
        shared: SharedStore | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.directory = Directory(tenants or (AURORA,))
        self.registry = Registry()
        self.expected_problems: set[str] = set()
        self.store = Store(database, application_name="tests-scorer")
        self.store.tenants.sync(self.directory.tenants)
        self.champions = Champions(lambda: self.registry, home / "models", home / "champions.json", clock)
        shares = Shares(GROUP, home.name, store=MemoryStore(clock) if shared is None else shared, clock=clock)
        self.division = Division(shares, Claims(database, "scorer"), clock)
        self.scorer = Scorer(
            self.store,
            self.division,
            self.champions,
            self.directory,
            clock,
            tick_seconds=5.0,
            backoff=Backoff(base_seconds=1.0, cap_seconds=15.0, random=lambda: 0.5),
        )

    def close(self) -> None:
        self.scorer.close()
        self.store.close()

    def play(self, host: DeliveringHost, seconds: int, cpu: Callable[[int], float]) -> None:
        """Let time pass: the host delivers every ten seconds, the scorer looks every five."""
        for passed in range(5, seconds + 1, 5):
            self.clock.move(5)
            if passed % 10 == 0:
                host.deliver(self.clock.now(), cpu(passed))
            self.scorer.tick()
            assert set(self.scorer.status()["problems"]) <= self.expected_problems

    def events(self) -> list[tuple[IncidentEventKind, Incident]]:
        return [(event.kind, event.incident) for event in self.store.incidents.events_after(0, 1000)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def stage(database: SecretStr, tmp_path: Path, clock: ManualClock) -> Iterator[Stage]:
    made = Stage(database, tmp_path / "home", clock)
    yield made
    made.close()


@pytest.fixture
def host(stage: Stage, delivery_store: DeliveryStore) -> DeliveringHost:
    return DeliveringHost(delivery_store, "aurora")


def test_a_loaded_minute_is_an_incident_within_two_minutes_and_resolves_after(
    stage: Stage, host: DeliveringHost
) -> None:
    stage.play(host, 600, lambda _: 0.08)
    assert stage.events() == []
    began = stage.clock.now()
    stage.play(host, 70, lambda _: 0.99)
    stage.play(host, 240, lambda _: 0.08)
    (opened, incident), (closed, resolved) = stage.events()
    assert (opened, closed) == (OPENED, RESOLVED)
    assert incident.updated_at - began <= timedelta(seconds=80)
    assert incident.contributions[0].signal == "cpu_utilization_ratio"
    assert incident.title.startswith("CPU utilization")
    assert resolved.resolved_at is not None
    assert resolved.resolved_at - began <= timedelta(seconds=140)
    assert stage.store.incidents.open() == []


def test_every_whole_minute_is_written_once_with_its_state(stage: Stage, host: DeliveringHost) -> None:
    stage.play(host, 630, lambda _: 0.1)
    minutes = stage.store.scores.read("aurora", "stream", Window(START, stage.clock.now()))
    assert [one.ts for one in minutes] == [START + timedelta(minutes=n) for n in range(1, 11)]
    assert {one.state for one in minutes} == {ModelState.LEARNING}
    assert {one.model_version for one in minutes} == {"untrained"}
    assert stage.scorer.status()["tenants"]["aurora"]["minutes_written"] == 10


def test_minutes_missed_by_a_pause_of_the_scorer_are_made_up(stage: Stage, host: DeliveringHost) -> None:
    stage.play(host, 120, lambda _: 0.1)
    for _ in range(30):
        stage.clock.move(10)
        host.deliver(stage.clock.now(), 0.1)
    stage.play(host, 60, lambda _: 0.1)
    minutes = stage.store.scores.read("aurora", "stream", Window(START, stage.clock.now()))
    assert len(minutes) == 8


def test_first_seconds_of_a_host_are_no_minute(stage: Stage, host: DeliveringHost) -> None:
    stage.play(host, 50, lambda _: 1.0)
    assert stage.events() == []
    assert stage.scorer.status()["tenants"]["aurora"]["latest"] == {}


class NoStore:
    """Shared state that is away."""

    def run(self, *_: object) -> Reply:
        raise SharedStateUnavailableError("away")


@pytest.fixture(params=["shared", "away"])
def pair(
    request: pytest.FixtureRequest, database: SecretStr, tmp_path: Path, clock: ManualClock
) -> Iterator[tuple[Stage, Stage]]:
    """Yield two scorers on one database, with shared state and without."""
    shared = cast("SharedStore", NoStore()) if request.param == "away" else MemoryStore(clock)
    first, second = (Stage(database, tmp_path / name, clock, *TENANTS, shared=shared) for name in ("first", "second"))
    yield first, second
    for stage in (first, second):
        stage.close()


TENANTS = tuple(Tenant(f"tenant-{number}", "Tenant") for number in range(16))


def scored(stage: Stage) -> set[str]:
    return set(stage.scorer.status()["tenants"])


def test_two_scorers_score_each_tenant_once_and_one_takes_over_from_the_other(pair: tuple[Stage, Stage]) -> None:
    first, second = pair
    everybody = {tenant.id for tenant in TENANTS}
    first.scorer.tick()
    assert scored(first) == everybody
    for _ in range(4):
        first.clock.move(5)
        for stage in pair:
            stage.scorer.tick()
        assert not scored(first) & scored(second)
    assert scored(first) | scored(second) == everybody
    first.scorer.close()
    first.clock.move(5)
    second.scorer.tick()
    assert scored(second) == everybody
    assert second.scorer.status()["state"] == "running"


def test_tenants_are_divided_while_state_is_shared_and_otherwise_kept(
    pair: tuple[Stage, Stage], request: pytest.FixtureRequest
) -> None:
    first, second = pair
    for _ in range(4):
        for stage in pair:
            stage.scorer.tick()
        first.clock.move(5)
    is_shared = "shared" in request.node.callspec.id
    assert bool(scored(second)) is is_shared
    assert second.scorer.status()["state"] == ("running" if is_shared else "standby")
    assert second.scorer.status()["scorers"] == (2 if is_shared else 1)


def test_a_scorer_that_is_gone_without_a_word_is_followed_within_seconds(
    database: SecretStr, tmp_path: Path, clock: ManualClock
) -> None:
    shared = MemoryStore(clock)
    first, second = (Stage(database, tmp_path / name, clock, *TENANTS, shared=shared) for name in ("first", "second"))
    try:
        for _ in range(3):
            for stage in (first, second):
                stage.scorer.tick()
            clock.move(5)
        first.division.lose()  # as when its process is killed: the database ends its claims, shared state hears nothing
        for _ in range(2):
            clock.move(5)
            second.scorer.tick()
        assert scored(second) == {tenant.id for tenant in TENANTS}
    finally:
        first.close()
        second.close()


def test_an_open_incident_is_resolved_by_the_scorer_that_takes_over(
    stage: Stage, host: DeliveringHost, tmp_path: Path, clock: ManualClock
) -> None:
    stage.play(host, 600, lambda _: 0.05)
    stage.play(host, 90, lambda _: 0.99)
    assert [kind for kind, _ in stage.events()] == [OPENED]
    stage.scorer.close()
    second = Stage(stage.database, tmp_path / "second", clock)
    try:
        second.play(host, 60, lambda _: 0.99)
        second.play(host, 240, lambda _: 0.05)
        assert [kind for kind, _ in second.events()] == [OPENED, RESOLVED]
        assert len({incident.id for _, incident in second.events()}) == 1
    finally:
        second.close()


def test_scoring_pauses_while_the_database_is_away_and_goes_on(
    stage: Stage, host: DeliveringHost, postgres: PostgresServer
) -> None:
    stage.play(host, 120, lambda _: 0.05)
    with restarted(postgres):
        stage.clock.move(5)
        assert stage.scorer.tick() > 0.0
        status = stage.scorer.status()
        assert status["state"] == "waiting"
        assert status["problems"][""]
    host.deliver(stage.clock.now() + timedelta(seconds=5), 0.05)
    stage.clock.move(10)
    stage.scorer.tick()
    stage.scorer.tick()
    assert stage.scorer.status()["state"] == "running"
    assert stage.scorer.status()["problems"] == {}


def trained(directory: Path, host: str) -> Bundle:
    """Save a detector that knows a quiet week of `host`."""
    ts = np.datetime64("2026-11-14T00:00", "s") + 60 * np.arange(1, 8 * 1440)
    values = np.full((len(ts), len(SIGNALS)), np.nan)
    random = np.random.default_rng(1)
    for name, level in {"cpu_utilization_ratio": 0.08, "memory_used_ratio": 0.5, "load_per_cpu": 0.08}.items():
        values[:, SIGNALS.index(name)] = level + 0.01 * random.random(len(ts))
    detector = TenantDetector({host: HostDetector.fit([SignalFrame(host, ts, SIGNALS, values)], seed=1)})
    directory.mkdir(parents=True)
    detector.save(directory)
    return Bundle(directory, "7")


def test_champion_is_taken_into_service_and_survives_a_registry_that_is_away(
    stage: Stage, host: DeliveringHost, tmp_path: Path, clock: ManualClock
) -> None:
    stage.play(host, 60, lambda _: 0.08)
    stage.registry.bundle = trained(tmp_path / "bundle", "web-1")
    stage.champions.refresh()
    stage.play(host, 60, lambda _: 0.08)
    status = stage.scorer.status()["tenants"]["aurora"]
    assert status["model_version"] == "7"
    assert status["latest"]["web-1"]["state"] == "ready"
    stage.registry.away = True
    stage.champions.refresh()
    assert "MLflow is away" in stage.scorer.status()["problems"]["models"]
    assert stage.champions.detector("aurora").version == "7"

    reborn = Champions(lambda: stage.registry, tmp_path / "home", tmp_path / "home" / "champions.json", clock)
    reborn.follow({"aurora"})
    assert reborn.detector("aurora").version == "7"

    assert stage.registry.bundle is not None
    (stage.registry.bundle.path / "bundle.json").write_text("{}")
    again = Champions(lambda: stage.registry, tmp_path / "home", tmp_path / "home" / "champions.json", clock)
    again.follow({"aurora"})
    assert again.detector("aurora").version == "untrained"


def test_registry_is_asked_soon_after_a_tenant_is_first_scored(
    stage: Stage, tmp_path: Path, clock: ManualClock
) -> None:
    stage.registry.bundle = trained(tmp_path / "bundle", "web-1")
    stop = Event()
    follower = Thread(target=stage.champions.run, args=(stop,))
    follower.start()
    try:
        wait_until(lambda: stage.champions.detector("aurora").version == "7", 60, "the champion")
        stage.registry.bundle = replace(stage.registry.bundle, version="8")
        clock.move(61)
        wait_until(lambda: stage.champions.detector("aurora").version == "8", 60, "the next champion")
    finally:
        stop.set()
        follower.join(10)


def test_trained_model_names_an_anomaly_far_below_any_physical_limit(
    stage: Stage, host: DeliveringHost, tmp_path: Path
) -> None:
    stage.registry.bundle = trained(tmp_path / "bundle", "web-1")
    stage.champions.detector("aurora")
    stage.champions.refresh()
    stage.play(host, 300, lambda _: 0.08)
    stage.play(host, 120, lambda _: 0.62)
    ((kind, incident),) = stage.events()
    assert kind is OPENED
    assert incident.model_version == "7"
    assert incident.contributions[0].expected_high < 0.2


def test_stream_and_batch_give_the_same_scores(stage: Stage, host: DeliveringHost, tmp_path: Path) -> None:
    stage.registry.bundle = trained(tmp_path / "bundle", "web-1")
    stage.champions.detector("aurora")
    stage.champions.refresh()
    random = np.random.default_rng(5)
    stage.play(host, 1200, lambda passed: 0.08 + 0.6 * (passed > 700) + 0.02 * float(random.random()))
    window = Window(START, START + timedelta(minutes=20))
    stream = stage.store.scores.read("aurora", "stream", window)
    buckets = stage.store.reader.read(Selection("aurora", window, Resolution.MINUTE, METRICS, edge=Edge.END))
    frame = signals_from_buckets("web-1", buckets, minute_axis(window))
    batch = stage.champions.detector("aurora").detector("web-1").score(frame, None)
    assert [one.ts for one in stream] == [one.ts for one in batch]
    assert max(abs(ours.score - theirs.score) for ours, theirs in zip(stream, batch, strict=True)) < 1e-9
    assert max(one.score for one in stream) > 0.9


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"aurora": 7}', json.dumps({"aurora": {"path": "/nowhere"}}).encode()]
)
def test_damaged_memory_of_champions_costs_nothing(tmp_path: Path, content: bytes, clock: ManualClock) -> None:
    (tmp_path / "champions.json").write_bytes(content)
    champions = Champions(Registry, tmp_path, tmp_path / "champions.json", clock)
    champions.follow({"aurora"})
    assert champions.detector("aurora").version == "untrained"


def test_incident_of_a_tenant_that_is_no_longer_scored_is_closed(stage: Stage, host: DeliveringHost) -> None:
    stage.play(host, 120, lambda _: 0.05)
    stage.play(host, 90, lambda _: 0.99)
    assert len(stage.store.incidents.open()) == 1
    stage.directory.tenants = (replace(AURORA, system=SystemSource(ml_enabled=False)),)
    stage.play(host, 65, lambda _: 0.99)
    assert stage.store.incidents.open() == []
    assert stage.events()[-1][1].title.endswith("no longer scored")
    assert stage.scorer.status()["tenants"] == {}


def test_host_that_falls_silent_does_not_keep_its_incident(stage: Stage, host: DeliveringHost) -> None:
    stage.play(host, 120, lambda _: 0.05)
    stage.play(host, 90, lambda _: 0.99)
    stage.clock.move(16 * 60)
    stage.scorer.tick()
    kind, incident = stage.events()[-1]
    assert kind is RESOLVED
    assert "delivered nothing since" in incident.title


class BrokenDetector(TenantDetector):
    """A bundle whose detectors cannot be had."""

    def detector(self, host: str) -> HostDetector:
        raise ModelError(f"the detector of {host} is broken")


def test_fault_of_one_tenant_costs_the_others_nothing(
    database: SecretStr, tmp_path: Path, clock: ManualClock, delivery_store: DeliveryStore
) -> None:
    stage = Stage(database, tmp_path, clock, AURORA, Tenant("borealis", "Borealis"))
    try:
        ours, theirs = (DeliveringHost(delivery_store, name, f"{name}-1") for name in ("aurora", "borealis"))
        stage.champions._detectors["aurora"] = BrokenDetector({})
        stage.expected_problems = {"aurora"}
        for _ in range(30):
            theirs.deliver(clock.now(), 0.1)
            stage.play(ours, 10, lambda _: 0.1)
        status = stage.scorer.status()
        assert set(status["problems"]) == {"aurora"}
        assert status["tenants"]["borealis"]["minutes_written"] > 0
    finally:
        stage.close()


def test_what_a_person_called_normal_ends_and_is_not_raised_again_but_worse_is(
    stage: Stage, host: DeliveringHost, tmp_path: Path
) -> None:
    stage.registry.bundle = trained(tmp_path / "bundle", "web-1")
    stage.champions.detector("aurora")
    stage.champions.refresh()
    stage.play(host, 300, lambda _: 0.08)
    stage.play(host, 180, lambda _: 0.62)
    ((_, incident),) = stage.events()
    assert incident.id is not None
    stage.store.feedback.say("aurora", incident.id, Verdict.NORMAL, reason="", said_by="ann", said_at=stage.clock.now())
    stage.play(host, 300, lambda _: 0.62)  # it lasts, and is over all the same
    assert [kind for kind, _ in stage.events()] == [OPENED, RESOLVED]
    stage.play(host, 900, lambda _: 0.08)
    stage.play(host, 300, lambda _: 0.62)
    stage.play(host, 900, lambda _: 0.08)
    assert len(stage.events()) == 2
    scores = stage.store.scores.read("aurora", "stream", Window(START, stage.clock.now()))
    assert scores[-17].score > 0.9  # what the model says of it is stored as it is
    stage.play(host, 300, lambda _: 0.99)
    assert [kind for kind, _ in stage.events()] == [OPENED, RESOLVED, OPENED]
    assert stage.scorer.latest_scores()["aurora"] > 0.9  # what Prometheus is shown
    stage.clock.move(400)
    assert stage.scorer.latest_scores() == {}


def test_quiet_hour_raises_nothing(stage: Stage, host: DeliveringHost) -> None:
    random = np.random.default_rng(3)
    stage.play(host, 3600, lambda _: float(np.clip(0.1 + 0.05 * random.standard_normal(), 0.0, 1.0)))
    assert stage.events() == []
