"""Named queries: ``sql/queries/<table>.sql`` holds blocks of a name, a purpose and a statement.

::

    -- name: ids
    -- Active tenants in insertion order.
    select tenant_id from core.tenant ...
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BLOCK = re.compile(r"^-- name: (?P<name>\w+)\n(?P<purpose>(?:-- .+\n)+)(?P<statement>[^;]+);\n*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One statement and why it exists."""

    name: str
    purpose: str
    statement: str


@cache
def named_queries(table: str) -> tuple[NamedQuery, ...]:
    """Return all blocks of one file.

    Raises
    ------
    ValueError
        If something in the file is in no block, or a name is given twice.
    """
    text = (_folder() / f"{table}.sql").read_text(encoding="utf-8")
    found = tuple(NamedQuery(match["name"], match["purpose"], match["statement"]) for match in _BLOCK.finditer(text))
    if _BLOCK.sub("", text).strip():
        raise ValueError(f"queries/{table}.sql: text outside of `-- name:`, purpose, statement, semicolon")
    if len({query.name for query in found}) != len(found):
        raise ValueError(f"queries/{table}.sql: a name is given twice")
    return found


def load_queries(table: str) -> Mapping[str, bytes]:
    """Return the statements of one file by name, as the driver takes them."""
    return {query.name: query.statement.encode() for query in named_queries(table)}


def query_files() -> tuple[str, ...]:
    """Return the names of all query files, without extension."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".sql") for name in names if name.endswith(".sql")))


def _folder() -> Path:
    return Path(__file__).parent / "sql" / "queries"
