"""Where Spotify is, who asks there, and where secrets may not stand."""

import pytest
from pydantic import SecretStr

from collectors_dagster.config import Settings
from collectors_dagster.config.sections import Spotify
from collectors_dagster.config.spotify import SpotifyApplication, spotify_application
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import ConfigurationError, SecurityError
from collectors_dagster.integrations.spotify.oauth.keys import token_sealer
from collectors_dagster.strategies.spotify_datasets import REQUIRED_SCOPES
from collectors_dagster.tenants import Tenant
from tests.support.project import Project

OWN = """
id: acme
name: Acme
sources: {spotify: {client_id: own-client, client_secret: 'env:ACME_SECRET', account: main}}
"""


def deployment(project: Project, tenant: str = "id: acme\nname: Acme\n", **spotify: object) -> tuple[Settings, Tenant]:
    project.write("config/tenants/acme.yml", tenant)
    settings = project.settings(spotify=spotify)
    return settings, load_tenants(settings).find("acme")


def test_deployments_application_serves_a_tenant_that_names_none(project: Project) -> None:
    found = spotify_application(*deployment(project, client_id="shared", client_secret="hush-hush"))
    assert found == SpotifyApplication(
        client_id="shared",
        client_secret=SecretStr("hush-hush"),
        account="shared",
        accounts_url="https://accounts.spotify.com",
        api_url="https://api.spotify.com/v1",
    )
    assert "hush" not in repr(found)


def test_tenants_own_application_replaces_the_deployments_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_SECRET", "own-secret")
    settings, tenant = deployment(project, OWN, client_id="shared", client_secret="hush-hush")
    found = spotify_application(settings, tenant)
    assert (found.client_id, found.account) == ("own-client", "main")
    assert found.client_secret == SecretStr("own-secret")
    assert "own-secret" not in repr(tenant)
    public = OWN.replace(", client_secret: 'env:ACME_SECRET'", "")
    assert spotify_application(*deployment(project, public, client_secret="hush-hush")).client_secret is None


def test_secret_that_is_not_where_the_file_says_is_told_with_tenant_and_key(project: Project) -> None:
    settings, tenant = deployment(project, OWN)
    with pytest.raises(
        ConfigurationError, match=r"acme\.yml: sources\.spotify\.client_secret: .*ACME_SECRET is not set"
    ):
        spotify_application(settings, tenant)


def test_no_application_is_told_with_the_remedy(project: Project) -> None:
    with pytest.raises(
        ConfigurationError, match=r"tenant acme: there is no Spotify application: set spotify\.client_id"
    ):
        spotify_application(*deployment(project))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("client_secret: a-plain-secret", "not the secret itself"),
        ("client_secret: 'env:X'", "belongs to a client_id"),
        ("client_id: 'a b'", "the application's client id"),
    ],
)
def test_tenant_file_that_is_wrong_is_refused(project: Project, line: str, said: str) -> None:
    project.write("config/tenants/acme.yml", f"id: acme\nname: Acme\nsources: {{spotify: {{{line}}}}}\n")
    found = load_tenants(project.settings())
    assert any(said in problem for problem in found.problems)
    assert "a-plain-secret" not in "".join(found.problems)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("redirect_uri", "http://localhost:8888/callback", "localhost is refused by Spotify: write http://127.0.0.1"),
        ("redirect_uri", "http://LOCALHOST/callback", "localhost is refused by Spotify"),
        ("redirect_uri", "https://localhost/callback", "localhost is refused by Spotify"),
        ("redirect_uri", "http://app.localhost/callback", "localhost is refused by Spotify"),
        ("redirect_uri", "http://example.org/callback", "https://"),
        ("redirect_uri", "http://127.0.0.2/callback", "http://127.0.0.1"),
        ("redirect_uri", "http://127.0.0.1/callback?x=1", "without ? and #"),
        ("redirect_uri", "ftp://127.0.0.1/callback", "address like"),
        ("redirect_uri", "https://me:pw@example.org/", "user name or password"),
        ("accounts_url", "http://accounts.spotify.com", "https://"),
        ("accounts_url", "http://127.0.0.1.example.org", "https://"),
        ("api_url", "http://10.0.0.1/v1", "https://"),
        ("api_url", "https://api.spotify.com/v1?x=1", "without ? and #"),
        ("scopes", ["user read"], "no scope"),
        ("token_keys_file", "keys", "absolute path"),
        ("client_id", "a/b", "client id"),
    ],
)
def test_setting_that_is_wrong_is_refused_with_the_remedy(project: Project, key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        project.settings(spotify={key: value})
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("redirect_uri", "https://collectors.example/back"),
        ("redirect_uri", "http://127.0.0.1:8888/callback"),
        ("redirect_uri", "http://[::1]/callback"),
        ("accounts_url", "http://127.0.0.1:18888"),
        ("api_url", "http://localhost:18888/v1"),
        ("api_url", "https://proxy.example/spotify/v1"),
    ],
)
def test_setting_that_is_right_is_taken(project: Project, key: str, value: str) -> None:
    assert getattr(project.settings(spotify={key: value}).spotify, key) == value


def test_users_are_asked_for_what_the_datasets_need_and_nothing_more() -> None:
    assert sorted(Spotify().scopes) == sorted(REQUIRED_SCOPES)


def test_scopes_may_come_as_text(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS__SPOTIFY__SCOPES", "user-library-read, user-top-read")
    assert project.settings().spotify.scopes == ("user-library-read", "user-top-read")


def test_local_stack_makes_its_own_key_and_keeps_it(project: Project) -> None:
    settings = project.settings()
    sealed = token_sealer(settings).seal(b"token", b"here")
    assert token_sealer(settings).unseal(sealed, b"here") == b"token"
    assert settings.secret_path("spotify-tokens.key").stat().st_mode & 0o077 == 0


def test_external_database_needs_a_key_that_all_machines_have(project: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"spotify\.token_keys_file: tokens in an external database"):
        token_sealer(project.settings(postgres={"host": "db.example"}))


def test_key_file_that_others_can_read_is_refused(project: Project) -> None:
    keys = project.write("keys", "A" * 43 + "=")
    keys.chmod(0o644)
    with pytest.raises(SecurityError, match="chmod 600"):
        token_sealer(project.settings(spotify={"token_keys_file": str(keys)}))
