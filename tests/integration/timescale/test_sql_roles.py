"""Database logins: made, shown once, taken back, and never a way past the tenant they are for."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.cli.__main__ import main
from collectors_dagster.errors import CollectorsError, ConfigurationError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.saved_queries import SavedQuery, find_queries, run_query
from collectors_dagster.integrations.timescale.sql_roles import Rank
from tests.support.commands import point_settings_at
from tests.support.postgres import PostgresServer
from tests.support.sql_tenants import FOREIGN, fill, foreign, login_url
from tests.support.store_data import DAY

PASSWORD = SecretStr("a-password-of-tests")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Run = Callable[[str], Answer]


@pytest.fixture
def filled(store: Store, delivery_store: DeliveryStore) -> Iterator[Store]:
    """Yield the store with two tenants; all roles made in the test are dropped after it."""
    fill(store, delivery_store)
    yield store
    for member in store.sql_roles.members():
        store.sql_roles.revoke(member.tenant_id, member.role)
    for role, _ in store.sql_roles.staff():
        store.sql_roles.revoke_staff(role)


@pytest.fixture
def run(
    database: SecretStr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return the command on the test's database."""
    (point_settings_at(database, tmp_path, monkeypatch) / "queries").mkdir()

    def collectors(line: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line))
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return collectors


def tenants(database: SecretStr, role: str, password: SecretStr) -> set[str]:
    """Log in and return whose rows are seen."""
    with psycopg.connect(login_url(database, role, password.get_secret_value()).get_secret_value()) as connection:
        return {row[0] for row in connection.execute("select tenant_id from api.metrics")}


def roles(postgres: PostgresServer) -> set[str]:
    """Return all roles of the server."""
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value()) as connection:
        return {row[0] for row in connection.execute("select rolname from pg_roles")}


# Making and taking back


def test_a_random_password_is_shown_once_and_works(run: Run, filled: Store, database: SecretStr) -> None:
    made = run("tenant grant-sql aurora --json")
    login = json.loads(made.out)
    assert (made.code, made.err, login["tenant"]) == (0, "", "aurora")
    assert tenants(database, login["role"], SecretStr(login["password"])) == {"aurora"}
    assert login["password"] not in run("tenant list-sql --json").out
    assert login["role"] in run("tenant list-sql").out


def test_the_name_of_a_role_says_nothing_of_the_tenant(filled: Store) -> None:
    assert "aurora" not in filled.sql_roles.grant("aurora").role


def test_a_password_from_a_file_is_never_shown(run: Run, filled: Store, database: SecretStr, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file-of-tests\n")
    made = run(f"tenant grant-sql aurora --role analyst --password-file {tmp_path / 'secret'}")
    assert (made.code, made.out, made.err) == (0, "role analyst sees tenant aurora\n", "")
    assert tenants(database, "analyst", SecretStr("from-a-file-of-tests")) == {"aurora"}


@pytest.fixture
def logged(postgres: PostgresServer) -> Iterator[Path]:
    """Yield the server's log, in which every statement of the platform appears."""
    postgres.execute("alter role collectors set log_statement to 'all'")
    postgres.execute("alter role collectors set log_min_messages to 'log'")
    yield postgres.data.parent / "log"
    postgres.execute("alter role collectors reset all")


def test_the_server_is_never_told_a_password(
    logged: Path, filled: Store, database: SecretStr, postgres: PostgresServer
) -> None:
    with Store(database, application_name="tests-logged") as watched:
        watched.sql_roles.grant("aurora", "analyst", PASSWORD)
    text = logged.read_text()
    assert "create role" in text
    assert PASSWORD.get_secret_value() not in text
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value()) as connection:
        row = connection.execute("select rolpassword from pg_authid where rolname = 'analyst'").fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$4096:")


def test_a_taken_back_role_is_dropped_and_its_session_cut(
    run: Run, filled: Store, database: SecretStr, postgres: PostgresServer
) -> None:
    filled.sql_roles.grant("aurora", "analyst", PASSWORD)
    url = login_url(database, "analyst", PASSWORD.get_secret_value()).get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        answer = run("tenant revoke-sql aurora analyst")
        assert (answer.code, answer.out) == (0, "role analyst no longer sees tenant aurora and is dropped\n")
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("select 1")
    assert "analyst" not in roles(postgres)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(url)


def test_one_role_may_see_two_tenants_and_loses_them_one_by_one(filled: Store, database: SecretStr) -> None:
    filled.sql_roles.grant("aurora", "analyst", PASSWORD)
    assert filled.sql_roles.grant("borealis", "analyst").password is None
    assert tenants(database, "analyst", PASSWORD) == {"aurora", "borealis"}
    assert filled.sql_roles.revoke("borealis", "analyst") is False
    assert tenants(database, "analyst", PASSWORD) == {"aurora"}
    assert filled.sql_roles.revoke("aurora", "analyst") is True


def test_making_it_again_changes_nothing(filled: Store, database: SecretStr) -> None:
    filled.sql_roles.grant("aurora", "analyst", PASSWORD)
    filled.sql_roles.grant("aurora", "analyst")
    assert tenants(database, "analyst", PASSWORD) == {"aurora"}
    assert len(filled.sql_roles.members()) == 1


@pytest.mark.parametrize(
    "name",
    ["", "ab", "1abc", "Aurora", "a-b-c", "pg_mine", "x" * 64, 'x"; drop table', "aurora; select", "ünion", "a b c"],
)
def test_a_name_that_will_not_do_is_refused(filled: Store, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a role's name"):
        filled.sql_roles.grant("aurora", name or " ")


@pytest.mark.parametrize("name", ["collectors", "postgres"])
def test_a_role_that_was_not_made_here_is_left_alone(filled: Store, name: str) -> None:
    with pytest.raises(ConfigurationError, match="was not made for a tenant: choose another name"):
        filled.sql_roles.grant("aurora", name)
    with pytest.raises(ConfigurationError, match="does not see tenant 'aurora'"):
        filled.sql_roles.revoke("aurora", name)
    with pytest.raises(ConfigurationError, match="no role of the staff"):
        filled.sql_roles.revoke_staff(name)


@pytest.mark.parametrize("password", ["short", "", "two\nlines of it", "tab\tin the middle"])
def test_a_weak_password_is_refused_without_being_quoted(filled: Store, password: str) -> None:
    with pytest.raises(ConfigurationError, match="at least 12 printable") as refused:
        filled.sql_roles.grant("aurora", "analyst", SecretStr(password))
    assert not password or password not in str(refused.value)
    assert filled.sql_roles.members() == []


def test_an_unknown_tenant_is_refused(run: Run, filled: Store) -> None:
    answer = run("tenant grant-sql nobody")
    assert (answer.code, answer.out) == (1, "")
    assert "tenant 'nobody' is not in the database" in answer.err


def test_a_tenant_that_was_just_added_can_have_a_login_at_once(run: Run, filled: Store, database: SecretStr) -> None:
    assert run("tenant add acme").code == 0
    login = json.loads(run("tenant grant-sql acme --json").out)
    assert tenants(database, login["role"], SecretStr(login["password"])) == set()
    assert [one.tenant_id for one in filled.sql_roles.members()] == ["acme"]


def test_a_server_that_lets_us_make_no_roles_says_the_remedy(
    filled: Store, postgres: PostgresServer, database: SecretStr
) -> None:
    postgres.execute("alter role collectors nocreaterole")
    try:
        with pytest.raises(ConfigurationError, match='alter role "collectors" createrole'):
            filled.sql_roles.grant("aurora")
    finally:
        postgres.execute("alter role collectors createrole")


# The staff


def test_a_reader_of_the_staff_sees_every_tenant_and_no_table(filled: Store, database: SecretStr) -> None:
    filled.sql_roles.grant_staff(Rank.READER, "staff_reader", PASSWORD)
    assert tenants(database, "staff_reader", PASSWORD) == {"aurora", "borealis"}
    with (
        psycopg.connect(login_url(database, "staff_reader", "a-password-of-tests").get_secret_value()) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("select * from core.load")


def test_an_operator_reads_all_tables_also_those_to_come_and_writes_none(filled: Store, database: SecretStr) -> None:
    filled.sql_roles.grant_staff(Rank.OPERATOR, "staff_operator", PASSWORD)
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute("select core.ensure_sample_partitions(array['2026-03-01'::date])")
    url = login_url(database, "staff_operator", PASSWORD.get_secret_value()).get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select count(*) > 0 from core.load").fetchone() == (True,)
        assert connection.execute("select count(*) from core.sample_20260301").fetchone() == (0,)
        for statement in (b"delete from core.load", b"insert into core.staff_member values (session_user, 'owner')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_an_owner_changes_rows_and_not_the_schema(filled: Store, database: SecretStr) -> None:
    filled.sql_roles.grant_staff(Rank.OWNER, "staff_owner", PASSWORD)
    url = login_url(database, "staff_owner", PASSWORD.get_secret_value()).get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("delete from core.planted_incident").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("drop table core.load")


def test_the_staffs_commands(run: Run, filled: Store, postgres: PostgresServer) -> None:
    assert json.loads(run("db staff grant --as operator --role staff_one --json").out)["rank"] == "operator"
    assert json.loads(run("db staff list --json").out) == [{"role": "staff_one", "rank": "operator"}]
    assert run("db staff grant --as operator --role staff_one").err.startswith("collectors: there is a role")
    assert run("db staff grant --as emperor").code == 2
    assert run("db staff revoke staff_one").out == "role staff_one is dropped\n"
    assert "staff_one" not in roles(postgres)


# Saved queries


def rows_of(store: Store, statement: str, tenant: str = "aurora") -> str:
    """Run a statement as a saved query of a tenant; return its rows, or what was said."""
    with store.sql_roles.reader(tenant) as conninfo:
        try:
            with run_query(conninfo, SavedQuery("mine", "", statement), DAY) as result:
                return "\n".join(map(str, result.rows))
        except CollectorsError as error:
            return str(error)


@pytest.mark.parametrize("name", sorted(find_queries(Path("/nowhere"))))
def test_every_shipped_query_runs_as_the_tenant(run: Run, filled: Store, postgres: PostgresServer, name: str) -> None:
    line = f"db query {name} --tenant aurora --from 2026-01-05 --to 2026-01-06"
    as_json, as_csv, as_table = run(f"{line} --json"), run(f"{line} --csv"), run(line)
    assert (as_json.code, as_json.err) == (0, "")
    objects = [json.loads(each) for each in as_json.out.splitlines()]
    assert len(as_csv.out.splitlines()) == len(objects) + 1
    assert as_table.code == 0
    if name != "load":  # the data hold no load per processor
        assert objects
    for answer in (as_json, as_csv, as_table):
        assert foreign(answer.out) == []
    assert not any(role.startswith("sql_query_") for role in roles(postgres))


def test_the_other_tenant_gets_its_own(run: Run, filled: Store) -> None:
    answer = run("db query series --tenant borealis --csv")
    assert "vaultmetric" in answer.out


def test_a_query_of_ones_own_is_a_file(run: Run, filled: Store, tmp_path: Path) -> None:
    text = (
        "-- How many rows.\n"
        "select count(*) as rows from metrics where timestamp < %(end)s and metric_name like 'm%%';\n"
    )
    (tmp_path / "config" / "queries" / "counted.sql").write_text(text)
    assert "counted          How many rows." in run("db queries").out
    assert run("db query counted --tenant aurora --from 2026-01-05 --to 2026-01-06 --csv").out == "rows\n286\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select 1", "a saved query is"),
        ("-- What for.\n", "a saved query is"),
        ("-- What for.\nselect nonsense", 'column "nonsense" does not exist'),
        ("-- What for.\nselect '5%' from series", "write %% for a sign"),
        ("-- What for.\nselect %(tenant)s", "only %(start)s and %(end)s"),
        ("-- What for.\nselect 1; select 2", "refused"),
        ("-- What for.\ndelete from metrics", "refused"),
    ],
)
def test_a_file_that_is_no_query_is_named(run: Run, filled: Store, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config" / "queries" / "mine.sql").write_text(text)
    answer = run("db query mine --tenant aurora")
    assert (answer.code, answer.out) == (1, "")
    assert "mine" in answer.err
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


ESCAPES = [
    "select set_config('role', 'none', true), t.* from core.tenant t",
    "select set_config('role', 'collectors', true)",
    "select set_config('session_authorization', 'collectors', true)",
    "select query_to_xml('select * from core.tenant', true, true, '')",
    "select set_config('role', 'none', true), query_to_xml('select * from core.tenant', true, true, '')",
    "select * from core.sample",
    "select 1; reset role; select * from core.tenant",
    "select 1) ; commit; reset session authorization; select * from core.tenant; --",
    "select pg_read_file('/etc/hostname')",
    "with gone as (delete from core.sample returning *) select * from gone",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'collectors'",
    "select * from metrics where tenant_id <> 'aurora'",
    "table core.tenant",
    "values ((select tenant_id from core.tenant limit 1))",
]


@pytest.mark.parametrize("statement", ESCAPES)
def test_a_saved_query_cannot_escape(filled: Store, statement: str) -> None:
    found = rows_of(filled, statement)
    assert [word for word in FOREIGN if word in found] == []
    assert filled.tenants.ids() == ["aurora", "borealis"]


def test_set_role_would_be_no_border(filled: Store, postgres: PostgresServer, database: SecretStr) -> None:
    """Why each query gets a login: within one statement a taken role is laid down again."""
    filled.sql_roles.grant("aurora", "analyst", PASSWORD)
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("set role analyst")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from core.tenant")
        connection.execute("do $$ begin perform set_config('role', 'none', false); perform * from core.tenant; end $$")


def test_what_a_killed_query_left_is_dropped_by_the_next(filled: Store, postgres: PostgresServer) -> None:
    filled.sql_roles.grant("aurora", "sql_query_dead", PASSWORD, lifetime=timedelta(seconds=-1))
    assert "sql_query_dead" in roles(postgres)
    assert rows_of(filled, "select count(distinct tenant_id) from series") == "(1,)"
    assert "sql_query_dead" not in roles(postgres)
