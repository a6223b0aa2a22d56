"""The page about SQL says what is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from tests.support.sql_tenants import fill, login_url
from tests.support.store_data import batch

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sql.md").read_text()
EXAMPLES = [one for one in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "%(" not in one]
SAVED = [one for one in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "%(" in one]


@pytest.fixture
def member(store: Store, delivery_store: DeliveryStore, database: SecretStr) -> Iterator[psycopg.Connection]:
    """Yield a connection of a tenant's login."""
    fill(store, delivery_store)
    delivery_store.deliver(batch(1, 60))
    login = store.sql_roles.grant("aurora")
    assert login.password is not None
    url = login_url(database, login.role, login.password.get_secret_value()).get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    store.sql_roles.revoke("aurora", login.role)


@pytest.mark.parametrize("statement", EXAMPLES)
def test_every_example_answers_a_tenant(member: psycopg.Connection, statement: str) -> None:
    assert member.execute(statement.encode()).fetchall() != []


def test_the_example_of_a_saved_query_answers(member: psycopg.Connection) -> None:
    (statement,) = SAVED
    assert member.execute(statement.encode(), {"start": "2026-01-05Z", "end": "2026-01-06Z"}).fetchall() == []


def test_the_table_lists_every_view_with_its_columns(member: psycopg.Connection) -> None:
    rows = member.execute(
        "select table_name, array_agg(column_name::text order by ordinal_position) "
        "from information_schema.columns where table_schema = 'api' group by 1"
    ).fetchall()
    written = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].startswith("`"):
            columns = re.findall(r"`(\w+)`", cells[3])
            for view in re.findall(r"`(\w+)`", cells[1]):
                written[view] = columns
    written["metrics_detail"] = written["metrics"]  # the page says "as metrics"
    assert written == dict(rows)


@pytest.mark.parametrize("view", ["metrics", "metrics_hourly", "series"])
def test_a_session_starts_as_the_page_says(member: psycopg.Connection, view: str) -> None:
    shown = [member.execute(f"show {name}".encode()).fetchone() for name in ("search_path", "statement_timeout")]
    assert shown == [("api",), ("1min",)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        member.execute(f"create table {view}_copy as select 1".encode())
