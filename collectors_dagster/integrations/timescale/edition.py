"""The editions of the database that the store runs on."""

from enum import StrEnum


class Edition(StrEnum):
    """What the schema was made for.

    Attributes
    ----------
    PLAIN
        PostgreSQL alone: range partitions of a day, aggregates in tables.
    APACHE
        TimescaleDB under the Apache licence: hypertables, aggregates in tables.
    FULL
        TimescaleDB under its own licence: hypertables that are compressed, continuous aggregates.
    """

    PLAIN = "plain"
    APACHE = "apache"
    FULL = "full"


def edition_of_server(extension_version: str | None, licence: str | None) -> Edition:
    """Return what a server offers to a database.

    Functions of the full edition exist under the Apache licence too and only fail when called, so the licence decides.

    Parameters
    ----------
    extension_version : str or None
        Of TimescaleDB in this database; None if it is not installed.
    licence : str or None
        The setting ``timescaledb.license``.

    Examples
    --------
    >>> edition_of_server("2.28.3", "apache").value
    'apache'
    """
    if extension_version is None:
        return Edition.PLAIN
    return Edition.FULL if licence == "timescale" else Edition.APACHE


def edition_of_schema(sample_kind: str | None, hourly_kind: str | None) -> Edition | None:
    """Return what a schema was made for, told by what its tables are; None if there is none.

    Parameters
    ----------
    sample_kind, hourly_kind : str or None
        ``pg_class.relkind`` of ``core.sample`` and ``core.sample_1h``.

    Examples
    --------
    >>> edition_of_schema("p", "r").value, edition_of_schema("r", "v").value
    ('plain', 'full')
    """
    if sample_kind is None:
        return None
    if sample_kind == "p":
        return Edition.PLAIN
    return Edition.FULL if hourly_kind == "v" else Edition.APACHE
