"""Tenants that write SQL: real login roles see their own rows through ``api`` and nothing else."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.details import DetailBatch
from collectors_dagster.samples import Sample
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, after, day_of_samples

pytestmark = pytest.mark.every_edition

VIEWS = ("metrics", "metrics_detail", "metrics_hourly", "series")
LEAK = """
    create function pg_temp.leak(tenant text) returns boolean language plpgsql cost 0.0000001 as $$
    begin
        raise notice 'saw %', tenant;
        return true;
    end $$
"""


@pytest.fixture
def role(postgres: PostgresServer) -> Iterator[str]:
    """Yield a login role without any right of its own."""
    name = f"member_{uuid4().hex[:8]}"
    postgres.execute(f"create role {{}} login password '{PASSWORD}'", name)
    yield name
    postgres.execute("drop role {}", name)


@pytest.fixture
def member(
    postgres: PostgresServer, store: Store, delivery_store: DeliveryStore, database: SecretStr, role: str
) -> Iterator[psycopg.Connection]:
    """Yield a connection of a role that is a member of aurora, where borealis has data too."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        store.samples.write_window(tenant, "demo", DAY, **day_of_samples())  # type: ignore[arg-type]
        store.rollups.hourly(tenant, DAY, "run-1")
        delivery_store.details.write(DetailBatch("agent-1", tenant, [Sample(LOAD1, after(1), 1.0)], after(60)))
    with psycopg.connect(database.get_secret_value()) as owner:
        owner.execute("insert into core.tenant_member values (%s, %s)", [role, store.tenants.key("aurora")])
    name = database.get_secret_value().rsplit("/", 1)[1]
    with psycopg.connect(postgres.conninfo(name, role).get_secret_value(), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("view", VIEWS)
def test_a_member_sees_its_own_rows_and_no_others(member: psycopg.Connection, view: str) -> None:
    statement = sql.SQL("select tenant_id, count(*) > 0 from api.{} group by 1").format(sql.Identifier(view))
    assert member.execute(statement).fetchall() == [("aurora", True)]


@pytest.mark.parametrize("view", VIEWS)
def test_a_role_without_membership_sees_nothing(
    member: psycopg.Connection, database: SecretStr, role: str, view: str
) -> None:
    with psycopg.connect(database.get_secret_value()) as owner:
        owner.execute("delete from core.tenant_member where role_name = %s", [role])
    statement = sql.SQL("select count(*) from api.{}").format(sql.Identifier(view))
    assert member.execute(statement).fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from core.sample",
        "select * from core.sample_20260105",
        "select * from core.sample_1h",
        "select * from core.series",
        "select * from core.tenant",
        "select * from core.tenant_member",
        "insert into core.tenant_member values (session_user, 2)",
        "select core.drop_raw_samples(1, now())",
        "select core.ensure_sample_partitions(array[current_date])",
        "create table api.mine (x integer)",
        "create or replace view api.metrics as select 1",
        "set role collectors",
        "set session authorization collectors",
    ],
)
def test_a_member_is_denied_everything_else(member: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        member.execute(statement.encode())


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_cannot_be_written(member: psycopg.Connection, view: str) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        member.execute(sql.SQL("delete from api.{}").format(sql.Identifier(view)))


@pytest.mark.parametrize("view", VIEWS)
def test_a_cheap_function_in_the_filter_is_never_shown_foreign_rows(member: psycopg.Connection, view: str) -> None:
    seen: set[str] = set()
    member.add_notice_handler(lambda notice: seen.add(str(notice.message_primary)))
    member.execute(LEAK)
    member.execute(sql.SQL("select count(*) from api.{} where pg_temp.leak(tenant_id)").format(sql.Identifier(view)))
    assert seen == {"saw aurora"}


@pytest.mark.parametrize("table", ["pg_stats", "pg_stats_ext"])
def test_the_planners_statistics_tell_nothing(member: psycopg.Connection, database: SecretStr, table: str) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute("analyze core.series, core.sample")
        own = owner.execute("select count(*) > 0 from pg_stats where schemaname = 'core'").fetchone()
    found = member.execute(f"select count(*) from {table} where schemaname = 'core'".encode()).fetchone()
    assert (own, found) == ((True,), (0,))


def test_the_documents_columns_live_on(member: psycopg.Connection) -> None:
    row = member.execute(
        "select timestamp, collector_name, metric_name, metric_value, tenant_id, metadata "
        "from api.metrics order by timestamp, metric_name limit 1"
    ).fetchone()
    assert row is not None
    assert row[1:3] == ("load", "metric0")
    assert row[4] == "aurora"
    assert row[5] == {"core": "0", "host": "host-1", "unit": "", "kind": "gauge"}


def test_hourly_values_are_those_of_the_raw_rows(member: psycopg.Connection) -> None:
    hourly = member.execute(
        "select metric_name, bucket, round(avg_value::numeric, 9), max_value, min_value "
        "from api.metrics_hourly where bucket < '2026-01-06 00:00+00' order by 1, 2"
    ).fetchall()
    raw = member.execute(
        "select metric_name, date_trunc('hour', timestamp), round(avg(metric_value)::numeric, 9), max(metric_value), "
        "min(metric_value) from api.metrics where timestamp < '2026-01-06 00:00+00' group by 1, 2 order by 1, 2"
    ).fetchall()
    assert len(hourly) == 48
    assert hourly == raw
