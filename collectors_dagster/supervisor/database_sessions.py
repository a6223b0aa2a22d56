"""How software that is not ours connects to the database: by libpq's own variables.

Its addresses hold what they must; encryption, limits and the name under which it is seen come from here, for every
connection that it makes, by whichever way.
"""

from collectors_dagster.config import Settings

LIMITS = {
    "statement_timeout": "300s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "300s",
}
"""Far beyond what Dagster and MLflow need: they end what hangs."""


def libpq_environment(settings: Settings, name: str) -> dict[str, str]:
    """Return the variables of a process whose connections we do not make.

    Parameters
    ----------
    name : str
        Shown in ``pg_stat_activity``, unless a connection has a name of its own.

    Raises
    ------
    ConfigurationError
        If the server's certificate is to be verified and there is nothing to verify it against.
    """
    encryption = settings.database_encryption().items()
    return {
        "PGAPPNAME": name,
        "PGOPTIONS": " ".join(f"-c {setting}={value}" for setting, value in LIMITS.items()),
        **{f"PG{parameter.replace('_', '').upper()}": value for parameter, value in encryption},
    }
