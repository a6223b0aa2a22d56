"""How a connection to PostgreSQL is encrypted, in libpq's words."""

import os
from pathlib import Path

from collectors_dagster.config.sections import Postgres
from collectors_dagster.config.spotify_addresses import is_loopback
from collectors_dagster.errors import ConfigurationError

TRUST_STORES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Alpine, Arch
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # Red Hat, Fedora
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/etc/ssl/cert.pem"),  # macOS, BSD
)
"""Where systems keep the authorities that they trust.

Named to the drivers, because each brings an OpenSSL of its own, which looks where it was built.
"""


def is_local(host: str) -> bool:
    """Return whether a server is on this machine: a socket's directory, or an address of the loopback.

    Examples
    --------
    >>> [is_local(host) for host in ("/run/postgresql", "localhost", "127.0.0.1", "::1", "10.0.0.1", "db")]
    [True, True, True, True, False, False]
    """
    return host.startswith("/") or is_loopback(host)


def encryption(postgres: Postgres, host: str, trust_stores: tuple[Path, ...] = TRUST_STORES) -> dict[str, str]:
    """Return what the address of an external server says about encryption: libpq's parameters.

    Parameters
    ----------
    trust_stores : tuple of Path
        Where the machine's own authorities may be, if no file is named.

    Raises
    ------
    ConfigurationError
        If the server's certificate is to be verified and there is nothing to verify it against.
    """
    mode = postgres.sslmode
    if mode is None:
        if is_local(host):
            return {}  # libpq's own default: encrypted if the server offers it
        mode = "verify-full"
    if mode == "disable":
        return {"sslmode": mode}
    parameters: dict[str, str] = {"sslmode": mode, "ssl_min_protocol_version": postgres.ssl_min_protocol_version}
    if mode in {"verify-ca", "verify-full"}:
        parameters["sslrootcert"] = str(_authorities(postgres.sslrootcert, host, trust_stores))
    return parameters


def _authorities(named: Path | None, host: str, trust_stores: tuple[Path, ...]) -> Path:
    if named is None:
        found = next((path for path in trust_stores if path.is_file()), None)
        if found is None:
            raise ConfigurationError(
                f"postgres.sslrootcert: this machine has no list of trusted authorities to verify {host} with: "
                "install ca-certificates, or name the file of the server's authority"
            )
        return found
    if not os.access(named, os.R_OK) or not named.is_file():
        raise ConfigurationError(
            f"postgres.sslrootcert: {named} cannot be read: name the PEM file of the authority that signed the "
            f"certificate of {host}"
        )
    return named
