"""Schedules: who shares a run, who comes first, and nothing twice."""

from datetime import datetime, timedelta

import dagster as dg
import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.definitions import composed
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.records import Window
from collectors_dagster.tenants import Tenant, Tier
from resources.deployment import Deployment
from sensors.ranges import PRIORITY, RANGE_END, RANGE_START
from sensors.schedules import SCHEDULES
from tests.orchestration.conftest import DAY, Tenants, write_minutes

AT = Window.of_day(DAY).start + timedelta(hours=15, minutes=5)


def requests(
    name: str,
    deployment: Deployment,
    instance: dg.DagsterInstance,
    at: datetime = AT,
    store: Store | None = None,
) -> list[dg.RunRequest]:
    """Return what a schedule asks for."""
    resources = {"deployment": deployment, "store": store}
    definitions = composed({**resources, "registry": None, "outbox": None})
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        resources=resources,
        repository_def=definitions.get_repository_def(),
    )
    data = definitions.resolve_schedule_def(name).evaluate_tick(context)
    return list(data.run_requests or ())


def covered(request: dg.RunRequest) -> tuple[str, str]:
    """Return the ends of a request's range."""
    return request.tags[RANGE_START], request.tags[RANGE_END]


@pytest.fixture
def deployment(clock: ManualClock, deployment: Deployment, tenants: Tenants) -> Deployment:
    tenants.tenants = (
        Tenant("p1", "P1", Tier.PREMIUM),
        *(Tenant(f"s{number:03}", f"S{number}") for number in range(60)),
        Tenant("p2", "P2", Tier.PREMIUM),
    )
    return deployment


def test_premium_tenants_come_first_and_alone_and_standard_ones_share(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    order = ["p1", *(f"s{number:03}" for number in reversed(range(60))), "p2"]
    instance.add_dynamic_partitions("tenant", order)
    asked = requests("today_hourly", deployment, instance)
    assert [covered(one) for one in asked] == [
        (f"p1|{DAY}", f"p1|{DAY}"),
        (f"p2|{DAY}", f"p2|{DAY}"),
        (f"s059|{DAY}", f"s010|{DAY}"),  # the order of insertion, not of the alphabet
        (f"s009|{DAY}", f"s000|{DAY}"),
    ]
    assert [int(one.tags[PRIORITY]) for one in asked] == [10, 10, 0, 0]


def test_every_hour_asks_once_and_the_next_hour_again(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenant", ["p1", "p2"])
    first = [one.run_key for one in requests("today_hourly", deployment, instance)]
    again = [one.run_key for one in requests("today_hourly", deployment, instance)]
    later = [one.run_key for one in requests("today_hourly", deployment, instance, AT.replace(hour=16))]
    assert first == again
    assert len(set(first)) == 2
    assert not set(first) & set(later)


def test_after_midnight_yesterday_is_sealed(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenant", ["p1"])
    at = Window.of_day(DAY).end + timedelta(minutes=15)
    [asked] = requests("yesterday_sealed", deployment, instance, at)
    assert covered(asked) == (f"p1|{DAY}", f"p1|{DAY}")


@pytest.mark.parametrize("name", ["training_daily", "retention_daily"])
def test_nightly_work_covers_every_tenant(name: str, deployment: Deployment, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenant", ["p1", "s000", "s001", "p2"])
    assert [covered(one) for one in requests(name, deployment, instance)] == [
        ("p1", "p1"),
        ("p2", "p2"),
        ("s000", "s001"),
    ]


def test_models_are_trained_hourly_while_a_tenants_history_is_young(
    deployment: Deployment, instance: dg.DagsterInstance, store: Store
) -> None:
    instance.add_dynamic_partitions("tenant", ["p1", "s000", "s001", "p2"])
    store.tenants.sync([Tenant("p1", "P1", Tier.PREMIUM), Tenant("s001", "S1"), Tenant("s000", "S0")])
    write_minutes(store, "s001", end_minute=30, minutes=30)

    def asked(at: datetime) -> list[tuple[str, str]]:
        return [covered(one) for one in requests("training_hourly_when_young", deployment, instance, at, store)]

    start = Window.of_day(DAY).start
    assert asked(start + timedelta(hours=5)) == [("s000", "s001")]
    assert asked(start + timedelta(hours=61)) == []


@pytest.mark.every_edition
def test_compression_is_asked_for_where_there_are_chunks(
    deployment: Deployment, instance: dg.DagsterInstance, store: Store, edition: Edition
) -> None:
    asked = requests("compression_at_rest", deployment, instance, AT, store)
    assert len(asked) == (0 if edition is Edition.PLAIN else 1)


def test_a_tenant_being_offboarded_is_not_scheduled(
    deployment: Deployment, instance: dg.DagsterInstance, tenants: Tenants
) -> None:
    instance.add_dynamic_partitions("tenant", ["s000", "gone", "s001"])
    assert [covered(one) for one in requests("retention_daily", deployment, instance)] == [
        ("s000", "s000"),
        ("s001", "s001"),
    ]


def test_all_schedules_run_without_anybody_switching_them_on() -> None:
    assert all(one.default_status is dg.DefaultScheduleStatus.RUNNING for one in SCHEDULES)
