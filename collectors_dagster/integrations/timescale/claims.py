"""Claims: what one process may do and no other, by name.

Held as advisory locks on a connection of its own, so that they end with the process, however that ends.
"""

import contextlib
from collections.abc import Iterable

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from pydantic import SecretStr

from collectors_dagster.integrations.timescale.border import mapped_errors
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("claims")
_QUICK: dict[str, str | int] = {
    "connect_timeout": 5,
    "options": "-c statement_timeout=5s",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""A holder notices within seconds that its connection, and so its claims, are gone."""


class Claims:
    """One process's claims; for one thread.

    Parameters
    ----------
    who : str
        Kind of process, shown as ``application_name`` ``collectors-<who>-claims``.
    """

    def __init__(self, conninfo: SecretStr, who: str) -> None:
        self._conninfo = conninfo
        self._who = who
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._held: frozenset[str] = frozenset()

    def hold(self, names: Iterable[str]) -> frozenset[str]:
        """Give back what is not among `names`, take what is free, and return what this process has now.

        Raises
        ------
        CollectorsError
            If the database does not answer; then this process holds nothing.
        """
        wanted = frozenset(names)
        with mapped_errors(f"claim work as {self._who}"):
            try:
                self._settle(self._connected(), wanted)
            except psycopg.Error:
                self.release()
                raise
        return self._held

    def release(self) -> None:
        """Let go of everything."""
        connection, self._connection, self._held = self._connection, None, frozenset()
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _connected(self) -> psycopg.Connection[TupleRow]:
        if self._connection is None:
            name = f"collectors-{self._who}-claims"
            conninfo = make_conninfo(self._conninfo.get_secret_value(), application_name=name, **_QUICK)
            self._connection = psycopg.connect(conninfo, autocommit=True)
        return self._connection

    def _settle(self, connection: psycopg.Connection[TupleRow], wanted: frozenset[str]) -> None:
        given, asked = sorted(self._held - wanted), sorted(wanted - self._held)
        if given:
            connection.execute(QUERIES["give_back"], {"names": given})
            self._held &= wanted
        if asked:
            taken = connection.execute(QUERIES["claim"], {"names": asked}).fetchall()
            self._held |= {str(row[0]) for row in taken}
        if not given and not asked:
            connection.execute(QUERIES["alive"])
