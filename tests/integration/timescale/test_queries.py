"""The SQL itself: every named query is sound on the migrated database, and used."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations import timescale
from collectors_dagster.integrations.timescale.queries import NamedQuery, load_queries, named_queries, query_files

PARAMETER = re.compile(r"%\((\w+)\)s")
ALL = [(table, query) for table in query_files() for query in named_queries(table)]
TITLES = [f"{table}.{query.name}" for table, query in ALL]


def numbered(query: NamedQuery) -> str:
    """Return the statement with ``$1, $2, ...`` for its named parameters."""
    names = list(dict.fromkeys(PARAMETER.findall(query.statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query.statement)


@pytest.mark.parametrize(("table", "query"), ALL, ids=TITLES)
def test_every_query_prepares_on_the_migrated_schema(table: str, query: NamedQuery, database: SecretStr) -> None:
    if query.statement.startswith("copy "):
        pytest.skip("COPY cannot be prepared; the tests of its table load through it")
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(sql.SQL("prepare probe as ") + sql.SQL(numbered(query)))
