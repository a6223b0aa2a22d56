"""Leadership: of several processes with the same role, one acts.

Held as an advisory lock on a connection of its own, so that it ends with the process, however that ends.
"""

import contextlib

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from pydantic import SecretStr

from collectors_dagster.integrations.timescale.border import mapped_errors
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("leadership")
_QUICK: dict[str, str | int] = {
    "connect_timeout": 5,
    "options": "-c statement_timeout=5s",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""A leader notices within seconds that its connection, and so its lead, is gone."""


class Leadership:
    """One process's claim to a role; for one thread.

    Parameters
    ----------
    role : str
        E.g. ``scorer``; processes with the same role on the same database exclude each other.
    """

    def __init__(self, conninfo: SecretStr, role: str) -> None:
        self._conninfo = conninfo
        self._role = role
        self._connection: psycopg.Connection[TupleRow] | None = None

    def hold(self) -> bool:
        """Return whether this process leads now, taking the lead if nobody has it.

        Raises
        ------
        CollectorsError
            If the database does not answer; then this process does not lead.
        """
        with mapped_errors(f"lead as {self._role}"):
            try:
                return self._still_held() if self._connection else self._acquire()
            except psycopg.Error:
                self.release()
                raise

    def release(self) -> None:
        """Let go; another process may lead from now on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _acquire(self) -> bool:
        name = f"collectors-{self._role}-leader"
        conninfo = make_conninfo(self._conninfo.get_secret_value(), application_name=name, **_QUICK)
        connection = psycopg.connect(conninfo, autocommit=True)
        row = connection.execute(QUERIES["acquire"], {"role": self._role}).fetchone()
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def _still_held(self) -> bool:
        assert self._connection is not None
        self._connection.execute(QUERIES["alive"])
        return True
