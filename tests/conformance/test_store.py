"""Every writing operation of the store keeps the same promises.

A new operation is tested the moment it is listed here.
"""

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from collectors_dagster.errors import ServiceUnreachableError, StorageError, TenantIsolationError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import IncidentEventKind, Verdict
from tests.support.postgres import free_port
from tests.support.store_data import (
    AURORA,
    BOREALIS,
    DAY,
    after,
    checksum,
    day_of_samples,
    feature_frame,
    forecast_point,
    health_report,
    incident,
    planted_incident,
    scored_minute,
)

pytestmark = pytest.mark.every_edition

ABSENT = SecretStr(f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/absent")
"""Nobody listens there."""

Operation = Callable[[Store, str], object]


def write_samples(store: Store, tenant: str) -> object:
    return store.samples.write_window(tenant, "demo", DAY, **day_of_samples())  # type: ignore[arg-type]  # a dict of arguments


def open_incident(store: Store, tenant: str) -> object:
    return store.incidents.apply(tenant, [(IncidentEventKind.OPENED, incident(tenant))])


def judge_incident(store: Store, tenant: str) -> object:
    [stored] = store.incidents.apply(tenant, [(IncidentEventKind.OPENED, incident(tenant))])
    assert stored.id is not None
    return store.feedback.say(tenant, stored.id, Verdict.NORMAL, reason="a backup", said_by="ann", said_at=after(900))


OPERATIONS: dict[str, Operation] = {
    "samples.write_window": write_samples,
    "ledger.record": lambda store, tenant: store.ledger.record(tenant, "d", DAY, "run-1", rows=3, detail={"a": 1}),
    "rollups.hourly": lambda store, tenant: store.rollups.hourly(tenant, DAY, "run-1", ("metric0",)),
    "rollups.daily": lambda store, tenant: store.rollups.daily(tenant, DAY, "run-1", ("metric0",)),
    "features.write": lambda store, tenant: store.features.write(tenant, DAY, [feature_frame()], "run-1"),
    "scores.write": lambda store, tenant: store.scores.write(tenant, "stream", [scored_minute()]),
    "scores.replace": lambda store, tenant: store.scores.replace(tenant, "batch", DAY, [scored_minute()]),
    "incidents.apply": open_incident,
    "feedback.say": judge_incident,
    "forecasts.write": lambda store, tenant: store.forecasts.write(tenant, [forecast_point()], "1"),
    "health.write": lambda store, tenant: store.health.write(tenant, [health_report()]),
    "planted.write": lambda store, tenant: store.planted.write(tenant, DAY, [planted_incident()]),
    "retention.apply": lambda store, tenant: store.retention.apply(tenant, 7, 400, after(86_400 * 30)),
}


@pytest.fixture(params=OPERATIONS.items(), ids=list(OPERATIONS))
def operation(request: pytest.FixtureRequest) -> Operation:
    chosen: Operation = request.param[1]
    return chosen


@pytest.fixture
def filled(store: Store) -> Store:
    """Return a store with two tenants that have a day of samples and their hours."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        write_samples(store, tenant)
        store.rollups.hourly(tenant, DAY, "run-0", ("metric0",))
    return store


def test_doing_it_again_changes_nothing(operation: Operation, filled: Store, database: SecretStr) -> None:
    operation(filled, "aurora")
    once = checksum(database)
    operation(filled, "aurora")
    assert checksum(database) == once


def test_it_leaves_other_tenants_alone(operation: Operation, filled: Store, database: SecretStr) -> None:
    operation(filled, "borealis")
    operation(filled, "aurora")
    alone = checksum(database)
    operation(filled, "borealis")
    assert checksum(database) == alone


def test_an_unknown_tenant_is_refused_with_the_remedy(operation: Operation, store: Store) -> None:
    with pytest.raises(StorageError, match="'nobody-knows' is not in the database: synchronise"):
        operation(store, "nobody-knows")


@pytest.mark.parametrize("tenant", ["../etc", "a'; drop table core.sample; --", "x" * 200, "\N{PILE OF POO}", ""])
def test_what_cannot_be_a_tenant_never_reaches_the_database(operation: Operation, tenant: str) -> None:
    with Store(ABSENT, application_name="tests") as store, pytest.raises(TenantIsolationError):
        operation(store, tenant)


def test_a_closed_store_says_so(operation: Operation, filled: Store) -> None:
    filled.close()
    with pytest.raises(StorageError, match="the store 'tests' is closed"):
        operation(filled, "aurora")


def test_an_absent_database_is_a_transient_error_without_secrets(operation: Operation) -> None:
    with Store(ABSENT, application_name="tests") as store, pytest.raises(ServiceUnreachableError) as caught:
        operation(store, "aurora")
    assert caught.value.transient
    assert "hunter2" not in repr(caught.value)
    assert "127.0.0.1" in str(caught.value)
