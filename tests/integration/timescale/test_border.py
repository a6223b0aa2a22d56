"""The border: every error of the driver becomes the most specific of ours, and tells no secret."""

from collections.abc import Callable, Iterator
from threading import Event, Thread
from traceback import format_exception

import psycopg
import pytest
from psycopg.errors import lookup
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import (
    CollectorsError,
    ConstraintViolatedError,
    MigrationError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    StorageError,
)
from collectors_dagster.integrations.timescale import DeliveryStore, Store, migrate
from collectors_dagster.integrations.timescale.border import mapped_errors, translated
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.postgres import PASSWORD, PostgresServer, free_port
from tests.support.store_data import AURORA, batch

SERVER_SAYS: list[tuple[str, type[CollectorsError]]] = [
    ("select 1 / 0", ConstraintViolatedError),
    ("select 'x'::integer", ConstraintViolatedError),
    ("insert into core.tenant (tenant_id, name, tier) values ('../x', 'x', 'standard')", ConstraintViolatedError),
    ("insert into core.tenant_member values ('x', 99)", ConstraintViolatedError),
    ("select * from core.not_there", MigrationError),
    ("select not_there from core.tenant", MigrationError),
    ("select * from not_there.tenant", MigrationError),
    ("select core.not_there()", MigrationError),
    ("set local statement_timeout = '20ms'; select pg_sleep(20)", ServiceTimeoutError),
    ("select * from pg_authid", RequestRejectedError),
    ("select pg_terminate_backend(pg_backend_pid())", ServiceUnreachableError),
    ("do $$ begin raise exception 'x' using errcode = '40001'; end $$", ServiceFailedError),
    ("do $$ begin raise exception 'x' using errcode = '40P01'; end $$", ServiceFailedError),
    ("do $$ begin raise exception 'x' using errcode = '53100'; end $$", ServiceFailedError),
    ("do $$ begin raise exception 'x' using errcode = '55P03'; end $$", ServiceTimeoutError),
    ("do $$ begin raise exception 'x' using errcode = '57P03'; end $$", ServiceUnreachableError),
    ("do $$ begin raise exception 'x' using errcode = 'P0001'; end $$", StorageError),
    ("not even sql", StorageError),
]


@pytest.fixture(scope="module")
def shared(servers: Callable[[Edition], PostgresServer]) -> Iterator[SecretStr]:
    """Yield a migrated database in which nothing is ever committed."""
    postgres = servers(Edition.PLAIN)
    postgres.create_database("border")
    migrate(postgres.conninfo("border"), clock=SystemClock())
    yield postgres.conninfo("border")
    postgres.drop_database("border")


@pytest.mark.parametrize(("statement", "expected"), SERVER_SAYS, ids=[text for text, _ in SERVER_SAYS])
def test_what_the_server_says_becomes_the_most_specific_error(
    statement: str, expected: type[CollectorsError], shared: SecretStr
) -> None:
    with psycopg.connect(shared.get_secret_value()) as connection:
        with pytest.raises(CollectorsError, match="cannot try something: ") as caught, mapped_errors("try something"):
            connection.execute(statement.encode())
        connection.rollback() if not connection.closed else connection.close()
    assert type(caught.value) is expected
    assert isinstance(caught.value.__cause__, psycopg.Error)


STATES = [getattr(kind, "sqlstate", None) for kind in vars(psycopg.errors).values()]
KNOWN = sorted({state for state in STATES if isinstance(state, str)})
TRANSIENT = ("08", "40", "53", "57", "58", "XX", "55P03")


def test_the_driver_knows_many_states() -> None:
    assert len(KNOWN) > 200


@pytest.mark.parametrize("state", KNOWN)
def test_every_state_has_an_answer_to_whether_trying_again_helps(state: str) -> None:
    error = translated(lookup(state)("said by the server"), "try something")
    assert error.transient == state.startswith(TRANSIENT)


def test_a_wrong_password_is_not_worth_trying_again_and_is_not_shown(postgres: PostgresServer) -> None:
    wrong = postgres.conninfo("postgres", password="hunter2")
    with Store(wrong, application_name="tests") as store, pytest.raises(RequestRejectedError) as caught:
        store.tenants.ids()
    assert "password authentication failed" in str(caught.value)
    assert "hunter2" not in "".join(format_exception(caught.value))


def test_an_absent_database_is_a_wrong_setting(postgres: PostgresServer) -> None:
    with (
        Store(postgres.conninfo("not_there"), application_name="tests") as store,
        pytest.raises(RequestRejectedError, match='database "not_there" does not exist'),
    ):
        store.tenants.ids()


def test_an_empty_database_asks_for_migrations(empty_database: SecretStr) -> None:
    with (
        Store(empty_database, application_name="tests") as store,
        pytest.raises(MigrationError, match="run `collectors db migrate`"),
    ):
        store.tenants.ids()


@pytest.mark.parametrize("text", ["postgresql://a:hunter2@[oops", "hunter2 hunter2", "host=127.0.0.1 hunter2=1"])
def test_a_malformed_address_is_refused_without_showing_it(text: str) -> None:
    with Store(SecretStr(text), application_name="tests") as store, pytest.raises(CollectorsError) as caught:
        store.tenants.ids()
    assert not caught.value.transient
    assert "hunter2" not in "".join(format_exception(caught.value))


def test_a_connection_cut_while_idle_is_replaced_without_an_error(
    store: Store, postgres: PostgresServer, database: SecretStr
) -> None:
    store.tenants.sync([AURORA])
    cut(postgres, database)
    assert store.tenants.ids() == ["aurora"]


def cut(postgres: PostgresServer, database: SecretStr) -> None:
    """Cut all connections to a database."""
    name = database.get_secret_value().rsplit("/", 1)[1]
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as connection:
        found = connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [name]
        ).fetchall()
    assert found == [(True,)]


def test_a_busy_pool_says_so_and_not_that_the_database_is_away(database: SecretStr) -> None:
    pool = Database(database, application_name="small", max_connections=1, wait_seconds=0.1)
    taken, done = Event(), Event()

    def hold() -> None:
        with pool.transaction("hold"):
            taken.set()
            done.wait(30)

    holder = Thread(target=hold)
    holder.start()
    taken.wait(30)
    with pytest.raises(ServiceTimeoutError, match="all 1 connections of 'small' are busy"), pool.transaction("wait"):
        pass
    done.set()
    holder.join()
    with pool.transaction("go on") as cursor:
        assert cursor.execute("select 1").fetchone() == (1,)
    pool.close()


def test_connections_are_named_bounded_and_made_late(database: SecretStr, postgres: PostgresServer) -> None:
    admin = postgres.conninfo("postgres", "postgres").get_secret_value()
    statement = "select count(*) from pg_stat_activity where application_name = 'the-scorer'"
    with Store(database, application_name="the-scorer", max_connections=2) as store:
        with psycopg.connect(admin) as connection:
            assert connection.execute(statement).fetchone() == (0,)
        store.tenants.ids()
        with psycopg.connect(admin) as connection:
            assert connection.execute(statement).fetchone() == (1,)
    with psycopg.connect(admin) as connection:
        assert connection.execute(statement).fetchone() == (0,)


def test_nothing_may_take_for_ever(database: SecretStr) -> None:
    pool = Database(database, application_name="tests", max_connections=1)
    with pool.transaction("look") as cursor:
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            row = cursor.execute("select setting::integer from pg_settings where name = %s", [setting]).fetchone()
            assert row is not None
            assert 0 < row[0] <= 300_000
    pool.close()


def test_neither_store_shows_its_password(database: SecretStr) -> None:
    with Store(database, application_name="a") as store, DeliveryStore(database, application_name="b") as agent:
        assert PASSWORD not in repr(store) + repr(vars(store)) + repr(vars(agent))


def test_a_store_can_be_used_again_once_the_database_is_back() -> None:
    """A failed attempt leaves nothing behind that delays the next one."""
    with DeliveryStore(SecretStr(f"postgresql://a:b@127.0.0.1:{free_port()}/c"), application_name="t") as agent:
        for _ in range(3):
            with pytest.raises(ServiceUnreachableError):
                agent.deliver(batch(1, 2))
