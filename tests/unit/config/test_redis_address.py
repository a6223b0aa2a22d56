"""Where Redis is, as a URL or single settings say it."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.config import load_settings
from collectors_dagster.config.redis_address import RedisAddress, Topology, parse_address
from collectors_dagster.errors import ConfigurationError
from tests.support.project import Project

WORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisAddress(Topology.STANDALONE, (("cache", 6379),))),
        ("rediss://cache:7000/3", RedisAddress(Topology.STANDALONE, (("cache", 7000),), tls=True, database=3)),
        ("redis+cluster://a:1,b,[::1]:3", RedisAddress(Topology.CLUSTER, (("a", 1), ("b", 6379), ("::1", 3)))),
        (
            "rediss+sentinel://a,b:5/main/2",
            RedisAddress(Topology.SENTINEL, (("a", 26379), ("b", 5)), tls=True, database=2, service="main"),
        ),
        ("redis://ann@cache", RedisAddress(Topology.STANDALONE, (("cache", 6379),), username="ann")),
    ],
)
def test_documented_forms_are_understood(url: str, expected: RedisAddress) -> None:
    assert parse_address(url) == expected


@given(user=WORDS, password=WORDS)
def test_any_user_and_password_survive_the_way_through_a_url(user: str, password: str) -> None:
    address = parse_address(f"redis+cluster://{quote(user, safe='')}:{quote(password, safe='')}@a,b")
    assert address.username == user
    assert address.password is not None
    assert address.password.get_secret_value() == password
    assert "password" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "cache",
            "http://cache",
            "redis://",
            "redis://:hunter2@",
            "redis://a,b",
            "redis://a:0",
            "redis://a:70000",
        ),
        *("redis://a/x", "redis://a/1/2", "redis://a/-1", "redis+cluster://a/1", "redis+cluster://a,,b"),
        *("redis+sentinel://a", "redis+sentinel://a/", "redis+rumour://a", "redis://a?db=1", "redis://[::1"),
    ],
)
def test_any_other_form_is_refused_with_the_forms_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"none that we know; write redis://.*rediss instead") as refused:
        parse_address(url)
    assert "hunter2" not in str(refused.value)


@given(url=st.text(max_size=40).map("redis://".__add__) | st.text(max_size=40))
def test_nonsense_is_an_address_or_a_refusal(url: str) -> None:
    try:
        parse_address(url)
    except ConfigurationError:
        return


def test_bad_url_among_the_settings_is_refused_without_its_password(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTORS__REDIS__URL", "http://:hunter2@cache")
    with pytest.raises(ConfigurationError, match=r"redis\.url.*none that we know") as refused:
        load_settings()
    assert "hunter2" not in repr(refused.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"url": "redis://a", "host": "b"}, "url and host both name the server"),
        ({"prefix": "a{b}"}, "letters, digits"),
        ({"prefix": ""}, "letters, digits"),
        ({"tls_cert_file": Path("/tls/cert.pem")}, "belong together"),
        ({"tls_ca_file": Path("ca.pem")}, "absolute path"),
        ({"answer_timeout_seconds": 0}, r"0\.001"),
    ],
)
def test_settings_that_cannot_be_are_refused(project: Project, settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load_settings(redis=settings)


def test_single_settings_make_a_url(project: Project) -> None:
    settings = load_settings(redis={"host": "cache", "user": "ann", "password": "p/w", "tls": True})
    assert settings.redis_url().get_secret_value() == "rediss://ann:p%2Fw@cache:6379/0"
    assert settings.redis_place == "cache:6379"


def test_url_takes_the_place_of_the_embedded_server_and_keeps_its_secrets(project: Project) -> None:
    settings = load_settings(redis={"url": "redis+cluster://:hunter2@a:1,b:2"})
    assert not settings.redis_embedded
    assert settings.redis_place == "a:1,b:2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.secret_values()
