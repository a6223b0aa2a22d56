"""The addresses of servers that settings hand out."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from redis import Redis
from sqlalchemy import make_url

from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.encryption import encryption
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

PASSWORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30).filter(str.strip)


@given(password=PASSWORDS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_password_survives_the_way_through_an_address(project: Project, password: str) -> None:
    settings = load_settings(
        postgres={"host": "db.example", "port": 5433, "user": "us-er", "password": password},
        redis={"host": "redis.example", "password": password},
    )
    parsed = conninfo_to_dict(settings.database_conninfo().get_secret_value())
    assert (parsed["password"], parsed["user"], parsed["host"], parsed["port"]) == (
        password,
        "us-er",
        "db.example",
        "5433",
    )
    assert make_url(settings.sqlalchemy_url("dagster").get_secret_value()).password == password
    assert Redis.from_url(settings.redis_url().get_secret_value()).get_connection_kwargs()["password"] == password


@pytest.mark.parametrize(
    ("database", "driver"), [("collectors", "psycopg"), ("dagster", "psycopg2"), ("mlflow", "psycopg2")]
)
def test_sqlalchemy_address_names_its_driver(project: Project, database: str, driver: str) -> None:
    settings = load_settings(postgres={"host": "h"})
    url = make_url(settings.sqlalchemy_url(database).get_secret_value())  # type: ignore[arg-type]  # a parameter
    assert (url.drivername, url.database) == (f"postgresql+{driver}", database)


def test_embedded_server_is_reached_with_the_generated_password_of_the_database_role(project: Project) -> None:
    project.write("home/secrets/dagster.password", "s3cret\n")
    settings = load_settings(ports={"postgres": 1234})
    parsed = conninfo_to_dict(settings.database_conninfo("dagster").get_secret_value())
    assert parsed == {"user": "dagster", "password": "s3cret", "host": "127.0.0.1", "port": "1234", "dbname": "dagster"}


def test_embedded_server_without_a_password_yet_tells_what_to_do(project: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"collectors.password: .* `collectors up` creates it"):
        load_settings().database_conninfo()
    with pytest.raises(ConfigurationError, match=r"redis.password: .* `collectors up` creates it"):
        load_settings().redis_url()


def test_external_databases_have_the_configured_names(project: Project) -> None:
    settings = load_settings(postgres={"host": "h", "db": "a", "dagster_db": "b", "mlflow_db": "c"})
    names = [settings.database_conninfo(each) for each in ("collectors", "dagster", "mlflow")]
    assert [conninfo_to_dict(each.get_secret_value())["dbname"] for each in names] == ["a", "b", "c"]


def parameters(settings: Settings) -> dict[str, str]:
    """Return what the address of the database says about encryption."""
    parsed = conninfo_to_dict(settings.database_conninfo().get_secret_value())
    named = make_url(settings.sqlalchemy_url("mlflow").get_secret_value()).query
    found = {name: str(parsed[name]) for name in parsed if name.startswith("ssl")}
    assert found == settings.database_encryption() == named
    return found


def test_a_server_elsewhere_must_prove_who_it_is_and_speak_tls_1_3(project: Project) -> None:
    trusted = project.write("ca & co.pem", "")
    found = parameters(load_settings(postgres={"host": "db.example", "sslrootcert": str(trusted)}))
    assert found == {"sslmode": "verify-full", "ssl_min_protocol_version": "TLSv1.3", "sslrootcert": str(trusted)}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "/run/postgresql"])
def test_a_server_on_this_machine_needs_no_certificate(project: Project, host: str) -> None:
    assert parameters(load_settings(postgres={"host": host})) == {}
    assert parameters(load_settings(postgres={"host": host, "sslmode": "require"})) == {
        "sslmode": "require",
        "ssl_min_protocol_version": "TLSv1.3",
    }


def test_plain_text_is_only_for_who_asks_for_it(project: Project) -> None:
    assert parameters(load_settings(postgres={"host": "db.example", "sslmode": "disable"})) == {"sslmode": "disable"}


def test_authorities_are_those_that_the_machine_trusts_unless_a_file_is_named(project: Project) -> None:
    stores = (project.root / "absent.pem", project.write("trusted.pem", ""))
    postgres = load_settings(postgres={"host": "db.example"}).postgres
    assert encryption(postgres, "db.example", stores)["sslrootcert"] == str(stores[1])
    with pytest.raises(ConfigurationError, match=r"postgres.sslrootcert: .* db.example .* install ca-certificates"):
        encryption(postgres, "db.example", stores[:1])


def test_a_file_of_authorities_that_is_not_there_is_named(project: Project) -> None:
    settings = load_settings(postgres={"host": "db.example", "sslrootcert": "/not/there.pem"})
    with pytest.raises(ConfigurationError, match=r"postgres.sslrootcert: /not/there.pem cannot be read: name the PEM"):
        settings.database_conninfo()
    with pytest.raises(ConfigurationError, match=r"postgres.sslrootcert = .* it must be an absolute path"):
        load_settings(postgres={"host": "db.example", "sslrootcert": "ca.pem"})


@pytest.mark.parametrize("host", ["::1", "10.0.0.1", "db-1.example.org", "/var/run/postgresql"])
def test_every_kind_of_host_survives_the_way_through_an_address(project: Project, host: str) -> None:
    settings = load_settings(postgres={"host": host})
    assert conninfo_to_dict(settings.database_conninfo().get_secret_value())["host"] == host


def test_local_servers_have_addresses_that_follow_their_ports(project: Project) -> None:
    settings = load_settings(ports={"mlflow": 1, "webserver": 2}, bind_address="0.0.0.0")
    assert settings.mlflow.tracking_uri == "http://127.0.0.1:1"
    assert settings.dagster.webserver_url == "http://127.0.0.1:2"
    assert settings.mlflow_embedded


def test_external_registry_is_not_taken_for_the_local_one(project: Project) -> None:
    settings = load_settings(mlflow={"tracking_uri": "https://mlflow.example"})
    assert settings.mlflow.tracking_uri == "https://mlflow.example"
    assert not settings.mlflow_embedded


def test_links_name_only_what_is_configured(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().external_links() == {}
    monkeypatch.setenv("GRAFANA_URL", "https://grafana.example/x")
    monkeypatch.setenv("PROMETHEUS_PUSHGATEWAY", "push.example:9091")
    assert load_settings().external_links() == {
        "grafana": "https://grafana.example/x",
        "prometheus_pushgateway": "http://push.example:9091",
    }
