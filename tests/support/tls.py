"""Certificates of a test's own, and a front that speaks TLS for a PostgreSQL that was built without it."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.environment import told
from tests.support.postgres import (
    ACCOUNT,
    PG_CONFIG_VARIABLES,
    REQUIRED_VARIABLE,
    PostgresServer,
    timescale_binaries,
)
from tests.support.waiting import wait_until

SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)
"""What libpq asks first: a length and a number that says that TLS is wanted."""


@dataclass(frozen=True)
class Authority:
    """One that signs certificates; its own lies in a file."""

    folder: Path
    name: str = "authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.file.write_bytes(self._signed(self._subject, self.key, None))

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def certificate(self, host: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a host, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, secret = self.folder / f"{self.name}-{host}.crt", self.folder / f"{self.name}-{host}.key"
        certificate.write_bytes(self._signed(_named(host), key, host))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        secret.chmod(0o600)
        return certificate, secret

    @property
    def _subject(self) -> x509.Name:
        return _named(f"tests' {self.name}")

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass
class Front:
    """Listens; what comes in by TLS goes on to the server in clear.

    Attributes
    ----------
    context : ssl.SSLContext or None
        None answers as a server does that has no TLS.
    versions : list of str
        Of TLS, of each connection.
    """

    upstream: int
    context: ssl.SSLContext | None
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    versions: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        """Accept until the listener is shut."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._speak, args=(client,), daemon=True).start()

    def _speak(self, client: socket.socket) -> None:
        with ExitStack() as open_sockets, suppress(OSError):
            open_sockets.enter_context(client)
            if client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST or self.context is None:
                client.sendall(b"N")
                return
            client.sendall(b"S")
            inside = open_sockets.enter_context(self.context.wrap_socket(client, server_side=True))
            self.versions.append(inside.version() or "")
            server = open_sockets.enter_context(socket.create_connection(("127.0.0.1", self.upstream)))
            back = threading.Thread(target=_pump, args=(server, inside), daemon=True)
            back.start()
            _pump(inside, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_front(upstream: int, certificate: tuple[Path, Path] | None, newest: ssl.TLSVersion) -> Iterator[Front]:
    """Yield a front of the server on port `upstream`; without a certificate it has no TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.maximum_version = newest
    front = Front(upstream, context)
    serving = threading.Thread(target=front.serve, daemon=True)
    serving.start()
    try:
        yield front
    finally:
        front.listener.shutdown(socket.SHUT_RDWR)
        front.listener.close()
        serving.join()


def edition_with_tls(*wanted: Edition) -> Edition:
    """Return an edition of which there is a PostgreSQL that was built with TLS.

    Skips the test, or fails it where skipping is forbidden, if there is none.
    """
    for edition in wanted or (Edition.FULL, Edition.APACHE):
        found = timescale_binaries(edition)
        asked = [str(found / "pg_config"), "--configure"] if found else []
        if asked and "ssl" in subprocess.run(asked, capture_output=True, text=True, check=True).stdout:
            return edition
    variable = PG_CONFIG_VARIABLES[wanted[0] if wanted else Edition.FULL]
    reason = f"no PostgreSQL with TimescaleDB and TLS: set {variable} to the pg_config of one"
    if told(REQUIRED_VARIABLE):
        pytest.fail(reason)
    pytest.skip(reason)


def serve_tls(server: PostgresServer, certificate: tuple[Path, Path] | None, newest: str = "TLSv1.3") -> None:
    """Let a PostgreSQL that was built with TLS speak it with this certificate; without one, not at all."""
    if certificate is not None:
        for source, name in zip(certificate, ("server.crt", "server.key"), strict=True):
            target = server.data / name
            shutil.copyfile(source, target)
            target.chmod(0o600)
            if ACCOUNT is not None:
                shutil.chown(target, ACCOUNT)
    before = _loaded(server)
    server.execute(f"alter system set ssl = {'off' if certificate is None else 'on'}")
    server.execute(f"alter system set ssl_max_protocol_version = '{newest}'")
    server.execute("select pg_reload_conf()")
    wait_until(lambda: _loaded(server) != before, seconds=10, what="the new configuration")


def _loaded(server: PostgresServer) -> object:
    with psycopg.connect(server.conninfo("postgres", "postgres").get_secret_value()) as connection:
        return connection.execute("select pg_conf_load_time()").fetchone()
