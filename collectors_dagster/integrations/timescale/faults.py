"""From what the server or a driver says to our own errors. Knows no driver.

Messages carry the server's primary message only: no DETAIL (it may quote a row), no connection string.
"""

from typing import NamedTuple

from collectors_dagster.errors import (
    CollectorsError,
    ConstraintViolatedError,
    IntegrationError,
    MigrationError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    StorageError,
)

SERVICE = "postgresql"

_INTEGRATION: tuple[tuple[tuple[str, ...], type[IntegrationError], str], ...] = (
    (("57014", "55P03"), ServiceTimeoutError, "it took too long; try again when the database is less busy"),
    (("08", "57P01", "57P02", "57P03", "57P05"), ServiceUnreachableError, "check that the database is up"),
    (("40",), ServiceFailedError, "another transaction was in the way; try again"),
    (("53100",), ServiceFailedError, "the database's disk is full: make room there; nothing was changed"),
    (("53", "58", "57", "XX"), ServiceFailedError, "look into the database's log"),
    (("28", "3D"), RequestRejectedError, "check user, password and database name in the settings"),
    (("42501",), RequestRejectedError, "the database role lacks the right"),
)
_STORAGE: tuple[tuple[tuple[str, ...], type[StorageError], str], ...] = (
    (("23", "22", "44", "54"), ConstraintViolatedError, "the data break a rule of the schema"),
    (("42P01", "42703", "42883", "42P10", "3F"), MigrationError, "run `collectors db migrate`"),
)


class Fault(NamedTuple):
    """A driver's error, in the words that all drivers have.

    Attributes
    ----------
    state : str or None
        SQLSTATE; ``None`` if the driver itself complains.
    said : str
        The server's primary message, or the driver's text.
    connection, data : bool
        Without a state: whether it is about the connection, or about a value.
    """

    state: str | None
    said: str
    connection: bool = False
    data: bool = False


def as_error(fault: Fault, operation: str) -> CollectorsError:
    """Return the most specific of our errors."""
    if fault.state is None:
        return _without_state(fault, operation)
    said = f"cannot {operation}: {fault.said} (SQLSTATE {fault.state})"
    for prefixes, kind, advice in _INTEGRATION:
        if fault.state.startswith(prefixes):
            return kind(f"{said}; {advice}", service=SERVICE, operation=operation)
    for prefixes, storage_kind, advice in _STORAGE:
        if fault.state.startswith(prefixes):
            return storage_kind(f"{said}; {advice}")
    return StorageError(said)


def _without_state(fault: Fault, operation: str) -> CollectorsError:
    """Errors of the driver itself: no connection, a lost one, or a wrong call."""
    if fault.connection:
        return _connection_failure(fault.said, operation)
    if fault.data:
        return ConstraintViolatedError(f"cannot {operation}: a value cannot be stored")
    return StorageError(f"cannot {operation}: the connection string or the call is malformed")


_ENCRYPTION: tuple[tuple[str, str], ...] = (
    ("certificate verify failed", "set postgres.sslrootcert to the file of the authority that signed its certificate"),
    ("does not match host name", "set postgres.host to a name that is in the server's certificate"),
    ("does not support SSL", "switch the server's ssl on, or set postgres.sslmode to say that plain text will do"),
    (
        "protocol version",
        "let the server speak TLS 1.3 (ssl_max_protocol_version), or lower postgres.ssl_min_protocol_version",
    ),
    (
        "unsupported protocol",
        "let the server speak TLS 1.3 (ssl_max_protocol_version), or lower postgres.ssl_min_protocol_version",
    ),
    ("root certificate file", "set postgres.sslrootcert to a PEM file that can be read"),
)
"""What libpq and OpenSSL say when they refuse a server for its encryption, and the remedy."""


def _connection_failure(said: str, operation: str) -> CollectorsError:
    """Without a connection there is no SQLSTATE: the server's refusal is only in its words."""
    first = said.strip().splitlines()[0] if said.strip() else "no answer"
    message = f"cannot {operation}: {first}"
    for words, remedy in _ENCRYPTION:
        if words in said:
            return RequestRejectedError(f"{message}; {remedy}", service=SERVICE, operation=operation)
    if "authentication failed" in said or "does not exist" in said or "no pg_hba.conf entry" in said:
        advice = "check user, password and database name in the settings"
        return RequestRejectedError(f"{message}; {advice}", service=SERVICE, operation=operation)
    return ServiceUnreachableError(f"{message}; check that the database is up", service=SERVICE, operation=operation)
