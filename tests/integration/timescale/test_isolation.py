"""Tenants that write SQL: whatever they try, they see their own rows through ``api`` and nothing else.

Two tenants have data; the words and numbers of the other one's "vault" appear nowhere else, so whatever an
attack gets back (rows, notices, errors) is searched for them. Controls show that the search finds a leak.
"""

from collections.abc import Iterator
from importlib.resources import files
from itertools import product

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from tests.support.postgres import PostgresServer
from tests.support.sql_tenants import (
    QUANTILES,
    VAULT_VALUE,
    VIEWS,
    SqlTenant,
    answered,
    fill,
    foreign,
    login_url,
    relations,
    seen,
    workshop,
)
from tests.support.store_data import DAY

pytestmark = pytest.mark.every_edition

LEAK = """
    create function {schema}.leak(anything text) returns boolean language plpgsql cost 0.0000001 as $$
    begin
        raise notice 'saw %', anything;
        return true;
    end $$
"""


@pytest.fixture
def tenant(store: Store, delivery_store: DeliveryStore, database: SecretStr) -> Iterator[SqlTenant]:
    """Yield a login of aurora, as `collectors tenant grant-sql` makes it."""
    fill(store, delivery_store)
    login = store.sql_roles.grant("aurora")
    assert login.password is not None
    yield SqlTenant(login.role, login_url(database, login.role, login.password.get_secret_value()))
    if any(one.role == login.role for one in store.sql_roles.members()):
        store.sql_roles.revoke("aurora", login.role)


@pytest.fixture
def member(tenant: SqlTenant) -> Iterator[psycopg.Connection]:
    """Yield a connection of that login."""
    with tenant.connected() as connection:
        yield connection


@pytest.fixture
def crafty(tenant: SqlTenant, database: SecretStr) -> Iterator[psycopg.Connection]:
    """Yield a connection of that login, which was given more than the platform gives: a place for functions."""
    workshop(database, tenant.role)
    with tenant.connected() as connection:
        yield connection
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(tenant.role)))


@pytest.fixture
def owner(tenant: SqlTenant, database: SecretStr) -> Iterator[psycopg.Connection]:
    """Yield a connection of the platform, on the same data."""
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("analyze")
        yield connection


# What is allowed


@pytest.mark.parametrize("view", VIEWS)
def test_a_member_sees_its_own_rows_and_no_others(member: psycopg.Connection, view: str) -> None:
    statement = sql.SQL("select tenant_id, count(*) > 0 from api.{} group by 1").format(sql.Identifier(view))
    assert member.execute(statement).fetchall() == [("aurora", True)]
    assert foreign(seen(member, [f"select * from api.{view}"])) == []


def test_the_documents_columns_live_on(member: psycopg.Connection) -> None:
    row = member.execute(
        "select timestamp, collector_name, metric_name, metric_value, tenant_id, metadata "
        "from metrics order by timestamp, metric_name limit 1"
    ).fetchone()
    assert row is not None
    assert row[1:3] == ("load", "metric0")
    assert row[4] == "aurora"
    assert row[5] == {"core": "0", "host": "host-1", "unit": "", "kind": "gauge"}


@pytest.mark.parametrize(("view", "unit", "buckets"), [("metrics_hourly", "hour", 48), ("metrics_daily", "day", 2)])
def test_coarse_values_are_those_of_the_raw_rows(
    member: psycopg.Connection, view: str, unit: str, buckets: int
) -> None:
    coarse = member.execute(
        sql.SQL(
            "select metric_name, bucket, round(avg_value::numeric, 9), max_value, min_value, sample_count "
            "from {} where bucket < '2026-01-06 00:00+00' order by 1, 2"
        ).format(sql.Identifier(view))
    ).fetchall()
    raw = member.execute(
        "select metric_name, date_trunc(%s, timestamp, 'UTC'), round(avg(metric_value)::numeric, 9), "
        "max(metric_value), min(metric_value), count(*) from metrics where timestamp < '2026-01-06 00:00+00' "
        "group by 1, 2 order by 1, 2",
        [unit],
    ).fetchall()
    assert len(coarse) == buckets
    assert coarse == raw


# Who is not let in


def test_who_was_not_let_in_cannot_even_name_the_views(
    postgres: PostgresServer, database: SecretStr, tenant: SqlTenant
) -> None:
    postgres.execute("create role {} login password 'a-password-of-tests'", "stranger")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(login_url(database, "stranger", "a-password-of-tests").get_secret_value())
        name = database.get_secret_value().rsplit("/", 1)[1]
        postgres.execute("grant connect on database {} to {}", name, "stranger")
        with (
            psycopg.connect(login_url(database, "stranger", "a-password-of-tests").get_secret_value()) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema api"),
        ):
            connection.execute("select count(*) from api.metrics")
        postgres.execute("revoke connect on database {} from {}", name, "stranger")
    finally:
        postgres.execute("drop role {}", "stranger")


@pytest.mark.parametrize("view", VIEWS)
def test_a_member_that_is_struck_off_sees_nothing_in_the_session_it_has(
    member: psycopg.Connection, owner: psycopg.Connection, tenant: SqlTenant, view: str
) -> None:
    member.execute(f"prepare before as select count(*) from api.{view}".encode())
    assert member.execute("execute before").fetchone() != (0,)
    owner.execute("delete from core.tenant_member where role_name = %s", [tenant.role])
    assert member.execute("execute before").fetchone() == (0,)


def test_a_membership_that_ran_out_shows_nothing(
    member: psycopg.Connection, owner: psycopg.Connection, tenant: SqlTenant
) -> None:
    owner.execute(
        "update core.tenant_member set expires_at = now() - interval '1 second' where role_name = %s", [tenant.role]
    )
    assert member.execute("select count(*) from metrics").fetchone() == (0,)


# What is denied

DENIED = [
    "select * from core.sample",
    "select * from core.sample_20260105",
    "select * from core.sample_1h",
    "select * from core.sample_1d",
    "select * from core.sample_1h_bins",
    "select * from core.sample_1d_bins",
    "select * from core.sample_1h_quantiles",
    "select * from core.sample_1d_quantiles",
    "select * from core.sample_detail",
    "select * from core.series",
    "select * from core.tenant",
    "select * from core.tenant_member",
    "select * from core.visible_tenant",
    "select * from only core.sample_20260105 tablesample system (100)",
    "insert into core.tenant_member values (session_user, 2)",
    "insert into core.staff_member values (session_user, 'owner')",
    "update core.tenant set name = 'mine'",
    "truncate core.sample",
    "lock table core.sample in access share mode",
    "lock table api.metrics in access exclusive mode",
    "select * from api.metrics for update",
    "select core.drop_raw_samples(1, now())",
    "select core.ensure_sample_partitions(array[current_date])",
    "create table api.mine (x integer)",
    "create or replace view api.metrics as select 1",
    "alter view api.metrics set (security_barrier = false)",
    "alter view api.metrics owner to current_user",
    "create rule mine as on insert to api.metrics do instead nothing",
    "create function api.f() returns integer language sql as 'select 1'",
    "create temporary table mine (x integer)",
    "create function pg_temp.f() returns integer language sql as 'select 1'",
    "create table public.mine (x integer)",
    "create schema mine",
    "create role mine",
    "create extension dblink",
    "create foreign data wrapper mine",
    "create publication mine for all tables",
    "alter role current_user createrole",
    "alter role current_user bypassrls",
    "grant collectors to current_user",
    "grant pg_read_all_data to current_user",
    "grant usage on schema core to current_user",
    "set role collectors",
    "set role postgres",
    "set session authorization collectors",
    "select set_config('role', 'collectors', true)",
    "select set_config('session_authorization', 'postgres', true)",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'collectors'",
    "copy core.sample to stdout",
    "copy (select * from core.sample) to stdout",
    "copy (select 1) to program 'cat'",
    "copy api.metrics from program 'cat'",
    "copy (select 1) to '/nowhere/leak'",
    "select pg_read_file('/etc/hostname')",
    "select pg_ls_dir('.')",
    "select lo_import('/etc/hostname')",
    "select query_to_xml('select * from core.sample', true, true, '')",
    "select table_to_xml('core.tenant', true, true, '')",
    "select * from ts_stat('select to_tsvector(tenant_id) from core.tenant')",
    "select set_config('role', 'none', true), query_to_xml('select * from core.tenant', true, true, '')",
    "do $$ begin perform * from core.tenant; end $$",
    "with gone as (delete from core.sample returning *) select * from gone",
    "explain select * from core.sample",
    "prepare direct as select * from core.tenant",
    "declare c cursor with hold for select * from core.tenant",
    "select * from pg_statistic",
    "select * from pg_authid",
    "select * from pg_largeobject",
    "create statistics s on ts, value from core.sample",
]
REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidParameterValue,  # of `set session authorization`, should a server say it so
)


@pytest.mark.parametrize("statement", DENIED)
def test_a_member_is_denied_everything_else(
    member: psycopg.Connection, owner: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(REFUSED) as refused, member.transaction():
        answered(member, statement)
    assert foreign(str(refused.value)) == []
    assert owner.execute("select count(*) from core.tenant_member").fetchone() == (1,)


@pytest.mark.parametrize(
    ("view", "statement"),
    list(
        product(
            VIEWS,
            [
                "insert into api.{} default values",
                "update api.{} set tenant_id = 'aurora'",
                "delete from api.{}",
                "merge into api.{} t using (values (1)) v on true when matched then delete",
            ],
        )
    ),
)
def test_a_view_cannot_be_written(member: psycopg.Connection, view: str, statement: str) -> None:
    # PostgreSQL 15 has no MERGE into views at all.
    with pytest.raises((psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported)):
        member.execute(statement.format(view).encode())


def test_xml_of_all_that_is_readable_holds_nothing_foreign(member: psycopg.Connection) -> None:
    found = seen(
        member,
        [
            "select schema_to_xml('core', true, true, '')",
            "select schema_to_xml('api', true, true, '')",
            "select database_to_xml(true, true, '')",
        ],
    )
    assert "aurora" in found or "libxml" in found  # not every server is built with XML
    assert foreign(found) == []


# Functions that see what they are given


def test_the_search_for_leaks_finds_one(crafty: psycopg.Connection, owner: psycopg.Connection) -> None:
    """The same function over a view without a barrier: this is what the barrier is for."""
    owner.execute(
        "create view api.open as select s.metric from core.series s where s.tenant_key = any "
        "(array(select v.tenant_key from core.visible_tenant v))"
    )
    owner.execute("grant select on api.open to public")
    crafty.execute(LEAK.format(schema="workshop").encode())
    assert foreign(seen(crafty, ["select * from api.open where workshop.leak(metric)"])) == ["vault"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_cheap_function_is_never_shown_foreign_rows(crafty: psycopg.Connection, view: str) -> None:
    for schema in ("workshop", "pg_temp"):
        crafty.execute(LEAK.format(schema=schema).encode())
    crafty.execute(
        "create function workshop.same(a text, b text) returns boolean language plpgsql cost 0.0000001 as "
        "$$ begin raise notice 'saw %', a; return a = b; end $$"
    )
    crafty.execute("create operator workshop.=== (leftarg = text, rightarg = text, function = workshop.same)")
    found = seen(
        crafty,
        [
            f"select count(*) from api.{view} v where {filtered}"
            for filtered in (
                "workshop.leak(v::text)",
                "pg_temp.leak(v::text)",
                "workshop.leak(v.tenant_id)",
                "workshop.leak(v.tenant_id) and workshop.leak(v.collector_name || v.metric_name)",
                "workshop.leak(v::text) or v.tenant_id = 'borealis'",
                "v.tenant_id operator(workshop.===) 'borealis'",
                "case when workshop.leak(v::text) then true end",
                "exists (select from generate_series(1, 2) where workshop.leak(v::text))",
            )
        ]
        + [
            f"select * from api.{view} v order by workshop.leak(v::text) limit 3",
            f"select count(*) filter (where workshop.leak(v::text)) from api.{view} v",
            f"select count(*) from api.{view} v join api.{view} w on workshop.leak(v::text || w::text)",
            f"select * from api.{view} v cross join lateral (select workshop.leak(v::text)) l limit 3",
            f"select max(tenant_id) from api.{view} v group by v.tenant_id having workshop.leak(v.tenant_id)",
        ],
    )
    assert "saw aurora" in found
    assert foreign(found.replace("saw aurora", "")) == []


@pytest.mark.parametrize("view", VIEWS)
def test_an_error_quotes_no_foreign_value(member: psycopg.Connection, view: str) -> None:
    found = seen(
        member,
        [
            f"select count(*) from api.{view} v where {filtered}"
            for filtered in (
                "v.tenant_id::integer > 0",
                "v.metric_name::integer > 0",
                "v::text::integer > 0",
                "v.tenant_id <> 'aurora' and v.metric_name::integer > 0",
                "case when v.tenant_id <> 'aurora' then v.metric_name::integer else 1 end > 0",
                "1 / (case when v.tenant_id = 'aurora' then 1 else 0 end) > 0",
            )
        ],
    )
    assert "invalid input syntax" in found
    assert "division by zero" not in found
    assert foreign(found) == []


def test_shadows_in_the_search_path_change_nothing(crafty: psycopg.Connection) -> None:
    found = seen(
        crafty,
        [
            "create table workshop.tenant_member as select session_user::name as role_name, 2 as tenant_key",
            "create temporary table tenant_member as select session_user::name as role_name, 2 as tenant_key",
            "create temporary view visible_tenant as select 2 as tenant_key, 'borealis' as tenant_name",
            "create function workshop.session_user() returns name language sql as $$ select 'collectors'::name $$",
            "create function workshop.now() returns timestamptz language sql as $$ select null::timestamptz $$",
            "create function workshop.eq(integer, integer) returns boolean language sql as 'select true'",
            "create operator workshop.= (leftarg = integer, rightarg = integer, function = workshop.eq)",
            "create operator workshop.= (leftarg = name, rightarg = name, function = pg_catalog.namene)",
            "set search_path to workshop, pg_temp, pg_catalog",
            *(f"select * from api.{view}" for view in VIEWS),
        ],
    )
    assert "aurora" in found
    assert foreign(found) == []


def test_a_function_with_the_makers_rights_sees_no_more(crafty: psycopg.Connection) -> None:
    found = seen(
        crafty,
        [
            "create function workshop.mine() returns text security definer return (select max(v::text) from metrics v)",
            "select * from workshop.mine()",
            "create view workshop.through as select * from api.series",
            "select * from workshop.through",
        ],
    )
    assert "aurora" in found
    assert foreign(found) == []


# Settings


def test_no_setting_opens_anything(member: psycopg.Connection) -> None:
    settings = member.execute(
        "select name, vartype, min_val, max_val, enumvals, setting from pg_settings where context = 'user' order by 1"
    ).fetchall()
    tried = 0
    for name, kind, smallest, largest, choices, setting in settings:
        values = {"bool": ["on", "off"], "enum": choices or []}.get(kind, [smallest, largest, setting, "borealis"])
        for value in filter(None, values):
            found = (
                seen(
                    member,
                    [
                        "begin",
                        f"select set_config('{name}', '{value}', true)",
                        *(f"select tenant_id, metric_name from api.{view}" for view in ("series", "metrics_hourly")),
                        "select count(*) from core.sample",
                        "rollback",
                    ],
                )
                .replace("('borealis',)", "")
                .replace('"borealis"', "")
            )
            assert foreign(found) == [], (name, value)
            tried += 1
    assert tried > 250


def test_settings_of_ones_own_choice_open_nothing(member: psycopg.Connection) -> None:
    found = seen(
        member,
        [
            "set app.tenant_id = 'other'",
            "set collectors.tenant_key = '2'",
            "set row_security to off",
            "set session_replication_role to replica",
            "set local_preload_libraries to 'anything'",
            "select * from api.series",
        ],
    )
    assert "aurora" in found
    assert foreign(found) == []


def test_no_role_can_be_taken(member: psycopg.Connection) -> None:
    roles = [str(row[0]) for row in member.execute("select rolname from pg_roles where rolname <> session_user")]
    assert len(roles) > 10
    for role, statement in product(roles, ("set role {}", "set session authorization {}")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            member.execute(sql.SQL(statement).format(sql.Identifier(role)))


# What the planner tells

PLANS = ("seqscan", "indexscan", "indexonlyscan", "bitmapscan", "nestloop", "hashjoin", "mergejoin", "material")
GUESSES = [
    (VIEWS, "tenant_id = {}", "borealis"),
    (VIEWS, "metric_name = {}", "vaultmetric"),
    (VIEWS, "collector_name = {}", "vaultsource"),
    (("series",), "host = {}", "vaulthost"),
    (("series",), "unit = {}", "vaultunit"),
    (("series",), "labels ->> 'vaultlabel' = {}", "vaultvalue"),
    (("series",), "metric_name < {}", "vaultmetric"),
    (("metrics", "metrics_hourly"), "metadata ->> 'host' = {}", "vaulthost"),
    (("metrics", "metrics_detail"), "metric_value = {}::double precision", str(VAULT_VALUE)),
    (("metrics", "metrics_detail"), "metric_value > {}::double precision", str(VAULT_VALUE - 1)),
    (("metrics_hourly", "metrics_daily"), "max_value > {}::double precision", str(VAULT_VALUE - 1)),
    (("metrics_hourly", "metrics_daily"), "min_value = {}::double precision", str(VAULT_VALUE)),
    (("metrics_hourly", "metrics_daily"), "avg_value = {}::double precision", str(VAULT_VALUE)),
    (QUANTILES, "p95 > {}::double precision", str(VAULT_VALUE * 0.98)),
    (QUANTILES, "sample_count = {}::bigint", "1439"),
]
INVENTED = {
    "1439": "1437",
    str(VAULT_VALUE * 0.98): "997654.5",
    str(VAULT_VALUE): "123.5",
    str(VAULT_VALUE - 1): "987659.5",
}
"""No row is above those near 987659 and 997654: else a plan could tell the bound of foreign values."""


def explained(connection: psycopg.Connection, view: str, filtered: str, word: str) -> list[str]:
    """Return all plans for one guess, with estimates and with what each step touched, the guess left out."""
    found: list[str] = []
    for off in ("", *PLANS):
        statements = ["begin", f"set local enable_{off} to off"] if off else ["begin"]
        text = filtered.format(f"'{word}'")
        # Costs depend on nothing that a guess could change, except the planner's estimates of it.
        explain = (
            f"explain (analyze, verbose, timing off, summary off, buffers off) select * from api.{view} where {text}"
        )
        found.append(seen(connection, [*statements, explain, "rollback"]).replace(word, "?"))
    return found


@pytest.mark.parametrize(
    ("view", "filtered", "word"), [(view, filtered, word) for views, filtered, word in GUESSES for view in views]
)
def test_a_plan_is_the_same_for_a_foreign_word_as_for_an_invented_one(
    member: psycopg.Connection, owner: psycopg.Connection, view: str, filtered: str, word: str
) -> None:
    invented = INVENTED.get(word, "x" + word[1:])
    told, expected = explained(member, view, filtered, word), explained(member, view, filtered, invented)
    assert all("rows=" in plan for plan in told)
    assert told == expected


def test_the_comparison_of_plans_finds_a_leak(member: psycopg.Connection, owner: psycopg.Connection) -> None:
    """Without the OFFSET the index of tenants is asked, and its row count says whether a guess is right."""
    owner.execute(
        "create view api.naive with (security_barrier) as select t.tenant_id from core.tenant t "
        "where t.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))"
    )
    owner.execute("grant select on api.naive to public")
    owner.execute("alter table core.tenant alter column tenant_id set statistics 100")
    told = explained(member, "naive", "tenant_id = {}", "borealis")
    assert told != explained(member, "naive", "tenant_id = {}", "xorealis")


# What the catalogues tell


def test_no_catalogue_holds_a_foreign_word(
    member: psycopg.Connection, owner: psycopg.Connection, database: SecretStr
) -> None:
    owner.execute("select lo_from_bytea(0, 'vault of borealis'::bytea)")
    with psycopg.connect(database.get_secret_value()) as busy:
        busy.execute("select 'vault of borealis', pg_backend_pid()")  # its last query, in an open transaction
        found = seen(member, [f"select * from {name}" for name in relations(member)])
        told = seen(owner, [f"select * from {name}" for name in relations(owner)])
    assert foreign(told) == ["borealis", "vault", "987654"]
    assert len(found) > 100_000
    assert foreign(found) == []


def test_the_planners_statistics_tell_nothing(member: psycopg.Connection, owner: psycopg.Connection) -> None:
    for table in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        assert member.execute(f"select count(*) from {table} where schemaname = 'core'".encode()).fetchone() == (0,)
    assert owner.execute("select count(*) > 0 from pg_stats where schemaname = 'core'").fetchone() == (True,)


def test_the_names_of_roles_tell_no_tenant(member: psycopg.Connection, store: Store) -> None:
    other = store.sql_roles.grant("borealis")
    found = seen(member, ["select rolname from pg_roles", "select * from information_schema.role_table_grants"])
    store.sql_roles.revoke("borealis", other.role)
    assert other.role in found
    assert foreign(found) == []


@pytest.mark.parametrize("view", VIEWS)
def test_hidden_columns_are_not_there(member: psycopg.Connection, view: str) -> None:
    for column in ("ctid", "xmin", "tableoid", "tenant_key"):
        with pytest.raises(psycopg.errors.UndefinedColumn):
            member.execute(f"select {column} from api.{view}".encode())


# The others' work


def hardened(postgres: PostgresServer, database: SecretStr) -> None:
    """Do as superuser what the page for operators asks for."""
    text = (files("collectors_dagster.integrations.timescale") / "sql" / "harden.sql").read_text()
    name = database.get_secret_value().rsplit("/", 1)[1]
    with psycopg.connect(postgres.conninfo(name, "postgres").get_secret_value()) as connection:
        connection.execute(text.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "select pg_advisory_lock(hashtextextended('collectors:rollup', 1))",
        "select pg_try_advisory_lock(1, 2)",
        "select pg_advisory_xact_lock(1)",
        "select pg_try_advisory_xact_lock_shared(1)",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'fill')",
        "select lo_put(1, 0, 'fill')",
    ],
)
def test_on_a_hardened_server_nobody_holds_up_the_platform_or_fills_its_disk(
    postgres: PostgresServer, database: SecretStr, member: psycopg.Connection, store: Store, statement: str
) -> None:
    hardened(postgres, database)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        member.execute(statement.encode())
    store.rollups.hourly("aurora", DAY, "run-2")


# The mutual


def test_two_logins_of_two_tenants_see_each_their_own(
    member: psycopg.Connection, store: Store, database: SecretStr
) -> None:
    login = store.sql_roles.grant("borealis")
    assert login.password is not None
    with psycopg.connect(
        login_url(database, login.role, login.password.get_secret_value()).get_secret_value()
    ) as other:
        assert {row[0] for row in other.execute("select tenant_id from metrics")} == {"borealis"}
        assert foreign(seen(other, ["select * from metrics"])) == ["borealis", "vault", "987654"]
    assert {row[0] for row in member.execute("select tenant_id from metrics")} == {"aurora"}
    store.sql_roles.revoke("borealis", login.role)
