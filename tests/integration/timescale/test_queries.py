"""The SQL itself: every named query is sound on the migrated database, and used."""

import re
from importlib.resources import files

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.queries import NamedQuery, named_queries, query_files
from collectors_dagster.integrations.timescale.retention import AGENTS, BOOKS, DERIVED
from collectors_dagster.integrations.timescale.spotify_retention import FORGOTTEN, ORPHANS, PRUNED

PARAMETER = re.compile(r"%\((\w+)\)s")
ALL = [(table, query) for table in query_files() for query in named_queries(table)]
TITLES = [f"{table}.{query.name}" for table, query in ALL]
PREPARED = [(title, query) for title, (_, query) in zip(TITLES, ALL, strict=True) if query.name != "copy"]
"""COPY cannot be prepared; the tests of its table load through it."""

LEVELS = ("hourly", "daily")
BUILT: dict[str, dict[str, tuple[str, ...]]] = {
    "retention": {"prune": (*DERIVED, *BOOKS, *AGENTS)},
    "spotify_retention": {"prune": PRUNED, "forget": (*FORGOTTEN, *ORPHANS)},
    "rollups": dict.fromkeys(("delete", "insert", "count", "delete_bins", "insert_bins"), LEVELS),
    "full": {"bounds": LEVELS, "refresh": LEVELS, "add_up": LEVELS},
}
"""Queries whose names are put together from a list in the module."""


ELSEWHERE = {
    Edition.PLAIN: re.compile(r"(apache|full)\..*"),
    Edition.APACHE: re.compile(r"full\..*"),
    Edition.FULL: re.compile(r"full\.refresh_.*|rollups\.(delete|insert)_.*|plain\.drop_hourly"),  # CALL; no tables
}
"""What an edition does not run, or nobody can prepare."""


def numbered(query: NamedQuery) -> str:
    """Return the statement with ``$1, $2, ...`` for its named parameters."""
    names = list(dict.fromkeys(PARAMETER.findall(query.statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query.statement)


@pytest.mark.every_edition
def test_every_query_prepares_on_the_migrated_schema(database: SecretStr, edition: Edition) -> None:
    prepared = [(title, query) for title, query in PREPARED if not ELSEWHERE[edition].fullmatch(title)]
    failures: dict[str, str] = {}
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        for title, query in prepared:
            name = sql.Identifier(title)
            try:
                connection.execute(sql.SQL("prepare {} as ").format(name) + sql.SQL(numbered(query)))
            except psycopg.Error as error:
                failures[title] = str(error)
        known = connection.execute("select count(*) from pg_prepared_statements").fetchone()
    assert failures == {}
    assert known == (len(prepared),)
    assert len(prepared) > 60


@pytest.mark.parametrize(("table", "query"), ALL, ids=TITLES)
def test_every_query_is_used_by_the_module_of_its_table(table: str, query: NamedQuery) -> None:
    module = (files("collectors_dagster.integrations.timescale") / f"{table}.py").read_text()
    built = {f"{prefix}_{name}" for prefix, names in BUILT.get(table, {}).items() for name in names}
    assert f'"{query.name}"' in module or query.name in built
