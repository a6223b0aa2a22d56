"""Saved queries: .sql files with a purpose, run with a tenant's own rights.

A file holds a purpose (its first lines, comments) and one statement that returns rows. It may name
``%(start)s`` and ``%(end)s``, and writes a percent sign as ``%%``. Tables are those of the schema ``api``.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.errors import CollectorsError, ConfigurationError
from collectors_dagster.integrations.timescale.border import translated
from collectors_dagster.integrations.timescale.pool import CONNECT_SECONDS
from collectors_dagster.records import Window

SHIPPED = Path(__file__).parent / "sql" / "saved"
ROWS_AT_ONCE = 2_000
"""Rows of a result in memory."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_FILE = re.compile(r"(?P<purpose>(?:--[^\n]*\n)+)(?P<statement>.*)", re.DOTALL)
_OURS = ("08", "28", "3D", "53", "57")
"""SQLSTATE classes that are no fault of the query."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """One file."""

    name: str
    purpose: str
    statement: str


@dataclass(frozen=True, slots=True)
class Result:
    """Rows as they come; they end with the block of code that opened them."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def find_queries(folder: Path) -> dict[str, SavedQuery]:
    """Return the shipped queries and those of a folder, by name; the folder's go first.

    Raises
    ------
    ConfigurationError
        If a file is no saved query.
    """
    paths = [*sorted(SHIPPED.glob("*.sql")), *sorted(folder.glob("*.sql"))]
    return {query.name: query for query in map(_read, paths)}


def _read(path: Path) -> SavedQuery:
    found = _FILE.fullmatch(path.read_text(encoding="utf-8").strip())
    if not _NAME.fullmatch(path.stem) or found is None or not found["statement"].strip():
        raise ConfigurationError(
            f"{path}: a saved query is a lower-case name, a first line `-- what it is for`, and one statement"
        )
    purpose = " ".join(line.strip("- ") for line in found["purpose"].splitlines())
    return SavedQuery(path.stem, purpose.strip(), found["statement"].strip().removesuffix(";"))


@contextmanager
def run_query(conninfo: SecretStr, query: SavedQuery, window: Window) -> Iterator[Result]:
    """Run a query through a login of its own; it may only read.

    Parameters
    ----------
    conninfo : SecretStr
        Of a login that sees one tenant; what it may not see, the query cannot.

    Raises
    ------
    ConfigurationError
        If the server refuses the statement.
    """
    try:
        with (
            psycopg.connect(
                conninfo.get_secret_value(), application_name="collectors-query", connect_timeout=CONNECT_SECONDS
            ) as connection,
            connection.cursor("result") as cursor,
        ):
            connection.read_only = True
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(sql.SQL(query.statement), {"start": window.start, "end": window.end})
            columns: Sequence[psycopg.Column] = cursor.description or ()
            yield Result(tuple(column.name for column in columns), cursor)
    except psycopg.Error as error:
        raise _explained(error, query) from error


def _explained(error: psycopg.Error, query: SavedQuery) -> CollectorsError:
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.ProgrammingError):
        return ConfigurationError(
            f"query {query.name!r}: only %(start)s and %(end)s may follow a percent sign; write %% for a sign"
        )
    if state is None or state.startswith(_OURS):
        return translated(error, f"run query {query.name!r}")
    return ConfigurationError(f"query {query.name!r} was refused: {error.diag.message_primary} (SQLSTATE {state})")
