"""Connections to an external server: TLS 1.3 and a verified certificate, or a refusal that says what to do.

The wheel's PostgreSQL has no TLS: a front speaks it. Where a PostgreSQL with TLS is found, it speaks for itself.
"""

import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import RequestRejectedError
from collectors_dagster.integrations.timescale.connection import Transactions
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.doctor import State, examine
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.lean import LeanDatabase
from collectors_dagster.supervisor.dagster_home import dagster_environment
from tests.support.environment import clean_environment
from tests.support.postgres import PASSWORD, PostgresServer, running_postgres
from tests.support.tls import Authority, Front, edition_with_tls, serve_tls, tls_front

ASK = b"select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
NEWEST = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass
class Site:
    """A server whose TLS a test sets up.

    Attributes
    ----------
    front : Front or None
        What speaks TLS for it, if it does not itself.
    """

    server: PostgresServer
    authority: Authority
    stack: ExitStack
    by_front: bool
    front: Front | None = None

    def speak(self, certificate: tuple[Path, Path] | None, newest: str = "TLSv1.3") -> None:
        """Let the server have this certificate; without one it has no TLS."""
        if self.by_front:
            self.front = self.stack.enter_context(tls_front(self.server.port, certificate, NEWEST[newest]))
        else:
            serve_tls(self.server, certificate, newest)

    def settings(self, **postgres: object) -> Settings:
        """Return the settings of somebody who uses this server as an external one."""
        port = self.server.port if self.front is None else self.front.port
        given = {"host": "127.0.0.1", "port": port, "db": "mine", "mlflow_db": "mine", "dagster_db": "mine"}
        known = {"password": PASSWORD, "sslmode": "verify-full", "sslrootcert": str(self.authority.file)}
        return load_settings(postgres=given | known | postgres)

    def said(self, row: tuple[object, ...] | None) -> tuple[object, ...] | None:
        """Return what a connection is encrypted with; a server behind a front does not know."""
        if self.front is None:
            return row
        assert row == (False, None)
        return True, self.front.versions[-1]


@pytest.fixture(params=["front", pytest.param("own", marks=pytest.mark.timescaledb)])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, servers: Callable[[Edition], PostgresServer]
) -> Iterator[Site]:
    """Yield a server with an empty database ``mine``, which does not speak TLS yet."""
    by_front = request.param == "front"
    with ExitStack() as stack:
        server = servers(Edition.PLAIN) if by_front else stack.enter_context(running_postgres(edition_with_tls()))
        server.create_database("mine")
        yield Site(server, Authority(tmp_path), stack, by_front)
        server.drop_database("mine")


@pytest.fixture(params=[Database, LeanDatabase])
def driver(request: pytest.FixtureRequest) -> type[Database | LeanDatabase]:
    """Return one of the two ways in: the platform's and the agent's."""
    chosen: type[Database | LeanDatabase] = request.param
    return chosen


def asked(driver: type[Database | LeanDatabase], settings: Settings) -> tuple[object, ...] | None:
    """Connect, and return what the server says of the connection's encryption."""
    database = driver(settings.database_conninfo(), application_name="tests", max_connections=1)
    transactions: Transactions = database
    try:
        with transactions.transaction("ask") as cursor:
            return cursor.execute(ASK).fetchone()
    finally:
        database.close()


def test_both_drivers_speak_tls_1_3_with_a_server_of_the_right_name_and_authority(
    site: Site, driver: type[Database | LeanDatabase]
) -> None:
    site.speak(site.authority.certificate("127.0.0.1"))
    assert site.said(asked(driver, site.settings())) == (True, "TLSv1.3")


def test_the_password_is_proved_for_this_channel_alone(site: Site) -> None:
    if site.by_front:
        pytest.skip("the channel ends at the front")
    site.speak(site.authority.certificate("127.0.0.1"))
    address = site.settings().database_conninfo().get_secret_value()
    with psycopg.connect(address, channel_binding="require") as connection:
        assert connection.execute(ASK).fetchone() == (True, "TLSv1.3")


def test_so_do_mlflow_and_dagster(site: Site) -> None:
    site.speak(site.authority.certificate("127.0.0.1"))
    settings = site.settings()
    engine = create_engine(settings.sqlalchemy_url("mlflow").get_secret_value())
    with engine.connect() as connection:
        row = connection.execute(text(ASK.decode())).one()
    engine.dispose()
    assert site.said(tuple(row)) == (True, "TLSv1.3")
    own = dagster_environment(settings, "dagster-webserver")
    assert own["PGSSLMODE"] == "verify-full"
    told_by_dagster = subprocess.run(
        [sys.executable, "-c", AS_DAGSTER], env=clean_environment(**own), capture_output=True, text=True, check=False
    )
    assert told_by_dagster.returncode == 0, told_by_dagster.stderr
    encrypted, version, name, limit = told_by_dagster.stdout.split()
    assert (name, limit) == ("dagster-webserver", "5min")
    seen = (encrypted == "True", None if version == "None" else version)
    assert site.said(seen) == (True, "TLSv1.3")


AS_DAGSTER = """
import os
import psycopg2
url = "postgresql://{DAGSTER_PG_USER}:{DAGSTER_PG_PASSWORD}@{DAGSTER_PG_HOST}:{DAGSTER_PG_PORT}/{DAGSTER_PG_DB}"
with psycopg2.connect(url.format(**os.environ)) as connection, connection.cursor() as cursor:
    cursor.execute(
        "select s.ssl, s.version, a.application_name, current_setting('statement_timeout') "
        "from pg_stat_ssl s join pg_stat_activity a using (pid) where s.pid = pg_backend_pid()"
    )
    print(*cursor.fetchone())
"""


def refused(site: Site, driver: type[Database | LeanDatabase], **postgres: object) -> str:
    """Return the one line with which a connection is refused."""
    with pytest.raises(RequestRejectedError) as caught:
        asked(driver, site.settings(**postgres))
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in repr(caught.value)
    assert not caught.value.transient
    return said


def test_a_certificate_of_a_stranger_is_refused(site: Site, driver: type[Database | LeanDatabase]) -> None:
    stranger = Authority(site.authority.folder, "stranger")
    site.speak(stranger.certificate("127.0.0.1"))
    said = refused(site, driver)
    assert "certificate verify failed" in said
    assert "set postgres.sslrootcert" in said
    assert site.said(asked(driver, site.settings(sslrootcert=str(stranger.file)))) == (True, "TLSv1.3")


def test_a_certificate_of_another_host_is_refused(site: Site, driver: type[Database | LeanDatabase]) -> None:
    site.speak(site.authority.certificate("db.example.org"))
    said = refused(site, driver)
    assert 'server certificate for "db.example.org"' in said
    assert 'does not match host name "127.0.0.1"' in said
    assert "set postgres.host to a name that is in the server's certificate" in said


def test_a_server_without_tls_is_refused(site: Site, driver: type[Database | LeanDatabase]) -> None:
    site.speak(None)
    said = refused(site, driver)
    assert "server does not support SSL, but SSL was required" in said
    assert "switch the server's ssl on, or set postgres.sslmode" in said


def test_an_old_tls_is_refused_unless_a_setting_allows_it(site: Site, driver: type[Database | LeanDatabase]) -> None:
    site.speak(site.authority.certificate("127.0.0.1"), newest="TLSv1.2")
    said = refused(site, driver)
    assert "protocol version" in said
    assert "postgres.ssl_min_protocol_version" in said
    allowed = site.settings(ssl_min_protocol_version="TLSv1.2")
    assert site.said(asked(driver, allowed)) == (True, "TLSv1.2")


def test_the_doctor_says_how_it_is_connected(site: Site) -> None:
    site.speak(site.authority.certificate("127.0.0.1"))
    (found,) = [
        one for one in examine(site.settings().database_conninfo(), clock=SystemClock()) if one.check == "encryption"
    ]
    assert found.state is State.OK
    if site.front is None:
        assert found.found == "TLSv1.3"
