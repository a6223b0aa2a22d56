"""The border at which psycopg's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.timescale.faults import Fault, as_error


@contextmanager
def mapped_errors(operation: str) -> Iterator[None]:
    """Raise our own errors instead of the driver's, with the cause chained.

    Parameters
    ----------
    operation : str
        What is being tried, for the message: ``write samples``.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translated(error, operation) from cause_to_show(error)


def cause_to_show(error: psycopg.Error) -> psycopg.Error | None:
    """Return the error to chain; none for a malformed connection string, which the driver quotes whole."""
    return None if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError) else error


def translated(error: psycopg.Error, operation: str) -> CollectorsError:
    """Return the most specific of our errors for one of the driver's."""
    connection = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    said = str(error) if error.sqlstate is None else str(error.diag.message_primary)
    return as_error(Fault(error.sqlstate, said, connection, isinstance(error, psycopg.DataError)), operation)
