"""Secrets do not get through, in whatever form they are written."""

import base64
import io
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.monitoring.logging import RedactingFormatter
from collectors_dagster.security.redaction import REDACTED, Redactor, redactor_for
from collectors_dagster.security.secrets import read_or_create
from tests.support.project import Project

SECRET = "pä$$/w\"or'd + 100%\\"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url path": quote,
    "url component": lambda secret: quote(secret, safe=""),
    "url form": quote_plus,
    "url in lower case": lambda secret: re.sub("%..", lambda code: code.group().lower(), quote(secret, safe="")),
    "json": lambda secret: json.dumps({"a": secret}),
    "json in unicode": lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps([secret])),
    "python": repr,
    "python list": lambda secret: repr([secret]),
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for urls": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "basic authorization": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "base64 shifted by one": lambda secret: base64.b64encode(f"x{secret}yy".encode()).decode(),
    "base64 shifted by two": lambda secret: base64.b64encode(f"xy{secret}y".encode()).decode(),
}


def traces_of(secret: str, form: Callable[[str], str]) -> str:
    return Redactor(secret).redact(f"before {form(secret)} after")


@pytest.mark.parametrize("form", FORMS)
def test_known_secret_is_removed_in_each_form(form: str) -> None:
    redacted = traces_of(SECRET, FORMS[form])
    assert REDACTED in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    for piece in (SECRET, quote(SECRET), SECRET.encode().hex(), base64.b64encode(SECRET.encode()).decode()[3:-6]):
        assert piece not in redacted


@given(
    secret=st.text(st.characters(exclude_categories=["C"]), min_size=4, max_size=40), form=st.sampled_from(list(FORMS))
)
def test_any_secret_is_removed_in_each_form(secret: str, form: str) -> None:
    assert REDACTED in traces_of(secret, FORMS[form]) or len(secret.encode()) < 6


@given(before=st.text(max_size=20), secret=st.text(min_size=4, max_size=40), after=st.text(max_size=20))
def test_any_secret_is_gone_from_any_text(before: str, secret: str, after: str) -> None:
    redacted = Redactor(secret).redact(before + secret + after)
    assert secret not in redacted or secret in REDACTED


@given(text=st.text(max_size=100))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor("some-secret")
    once = redactor.redact(text)
    assert redactor.redact(once) == once


def test_lines_of_a_secret_with_several_lines_are_removed_one_by_one() -> None:
    key = "first-line-of-a-key\nsecond-line-of-a-key"
    assert Redactor(key).redact("got second-line-of-a-key, sir") == f"got {REDACTED}, sir"


def test_secret_too_short_to_protect_anything_blanks_no_lines() -> None:
    assert Redactor("a", "", "abc").redact("a b abc") == "a b abc"


def test_secret_learned_later_is_removed_from_then_on() -> None:
    redactor = Redactor()
    assert redactor.redact("xyzzy-1") == "xyzzy-1"
    redactor.learn("xyzzy-1", "xyzzy-2")
    assert redactor.redact("xyzzy-1 xyzzy-2") == f"{REDACTED} {REDACTED}"


def test_longer_secret_is_removed_whole_when_a_shorter_one_begins_it() -> None:
    assert Redactor("token", "token-of-mine").redact("[token-of-mine]") == f"[{REDACTED}]"


def test_redactor_does_not_show_what_it_knows() -> None:
    assert "xyzzy" not in repr(Redactor("xyzzy-1"))


SHAPES = [
    ("postgresql://me:canary@db:5432/x", f"postgresql://me:{REDACTED}@db:5432/x"),
    ("redis://:canary@h:6379/0 is away", f"redis://:{REDACTED}@h:6379/0 is away"),
    ("http://u:can@ary@h/x", f"http://u:{REDACTED}@h/x"),
    ('{"url": "http://u:canary@h", "mail": "a@b"}', f'{{"url": "http://u:{REDACTED}@h", "mail": "a@b"}}'),
    ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.canary-sig end", f"jwt {REDACTED} end"),
    ("Bearer canary-1234567", f"Bearer {REDACTED}"),
    ("Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", f"Authorization: Basic {REDACTED}"),
    ("authorization=canary", f"authorization={REDACTED}"),
    ("host=h user=u password=canary port=1", f"host=h user=u password={REDACTED} port=1"),
    ("{'password': 'canary', 'user': 'u'}", f"{{'password': '{REDACTED}', 'user': 'u'}}"),
    ('{"client_secret": "canary"}', f'{{"client_secret": "{REDACTED}"}}'),
    ('"{\\"api_key\\": \\"canary\\"}"', f'"{{\\"api_key\\": \\"{REDACTED}\\"}}"'),
    ("?access_token=canary&x=1", f"?access_token={REDACTED}&x=1"),
    ("key AKIAIOSFODNN7EXAMPLE", f"key {REDACTED}"),
    ("-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----", REDACTED),
]


@pytest.mark.parametrize(("text", "expected"), SHAPES)
def test_unknown_secret_is_removed_by_its_shape(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected
    assert Redactor().redact(expected) == expected


HARMLESS = [
    "password authentication failed for user collectors",
    "http://127.0.0.1:13000/runs/8b2f?x=a@b",
    "postgresql://db:5432/x",
    "a basic understanding of tokens",
    "the bearer of news",
    "config/base.yml:5: patterns.rate_limiter.burst_sise is not a known key; did you mean burst_size?",
    "rows=1200 seconds=3.5 tenant=acme host=db-1",
    "2026-11-22T15:00:00Z mail to a@b.example",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays_readable(text: str) -> None:
    assert Redactor().redact(text) == text


def test_nested_values_are_cleaned_at_any_depth() -> None:
    class Answer:
        def __repr__(self) -> str:
            return "Answer(canary-1)"

    value = {"a": [{"b": ("canary-1", 1, None)}], "canary-1": 2, "c": Answer(), "d": {"canary-1"}, "e": 1.5}
    cleaned = Redactor("canary-1").redact_value(value)
    assert "canary-1" not in repr(cleaned)
    assert cleaned["e"] == 1.5


@pytest.mark.parametrize(
    "name", ["password", "client_secret", "API_KEY", "authorization", "Set-Cookie", "refresh_token"]
)
def test_value_under_a_name_of_secrets_is_removed_whole(name: str) -> None:
    assert Redactor().redact_value({name: "anything at all"}) == {name: REDACTED}


def test_number_under_a_name_of_secrets_stays() -> None:
    assert Redactor().redact_value({"burst_token": 3}) == {"burst_token": 3}


class UpstreamError(Exception):
    """Quotes the address it could not reach."""


def fail() -> None:
    message = "cannot reach postgresql://me:canary-1@db/x with canary-1"
    raise UpstreamError(message)


@pytest.mark.parametrize("renderer", [structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)])
def test_structlog_line_with_traceback_holds_no_secret(renderer: Any) -> None:
    out = io.StringIO()
    redactor = Redactor("canary-1")
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[structlog.processors.format_exc_info, redactor, renderer, redactor],
        context_class=dict,
    )
    try:
        fail()
    except UpstreamError:
        log.exception("failed canary-1", url="redis://:canary-1@h", header={"Authorization": "x"}, rows=3)
    line = out.getvalue()
    assert "canary-1" not in line
    assert "cannot reach" in line
    assert "rows" in line


def test_line_of_json_stays_json_after_redaction() -> None:
    redactor = Redactor('quote"and\\slash')
    line = json.dumps({"event": 'a quote"and\\slash b', "password": "x", "url": "http://u:p@h"})
    assert json.loads(redactor(None, "info", line)) == {
        "event": f"a {REDACTED} b",
        "password": REDACTED,
        "url": f"http://u:{REDACTED}@h",
    }


def test_traceback_that_is_not_text_yet_is_left_for_its_formatter() -> None:
    event = {"event": "x", "exc_info": True}
    assert Redactor()(None, "error", event) == event


def test_standard_logging_line_with_arguments_and_traceback_holds_no_secret() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(levelname)s %(message)s"), Redactor("canary-1"))
    try:
        fail()
    except UpstreamError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "tried %s", ("canary-1",), sys.exc_info())
    line = formatter.format(record)
    assert "canary-1" not in line
    assert line.startswith(f"ERROR tried {REDACTED}")
    assert "UpstreamError" in line


def test_redactor_of_the_settings_knows_their_secrets_and_the_generated_ones(project: Project) -> None:
    settings = project.settings(postgres={"password": "canary-1"}, spotify={"client_secret": "canary-2"})
    generated = read_or_create(settings, "collectors.password").get_secret_value()
    redacted = redactor_for(settings).redact(f"canary-1 canary-2 {generated}")
    assert redacted == f"{REDACTED} {REDACTED} {REDACTED}"


def test_secret_generated_later_is_removed_from_the_next_line_on(project: Project) -> None:
    redactor = redactor_for(project.settings())
    assert redactor.redact("nothing yet") == "nothing yet"
    first = read_or_create(project.settings(), "collectors.password").get_secret_value()
    assert redactor.redact(first) == REDACTED
    second = read_or_create(project.settings(), "redis.password").get_secret_value()
    assert redactor.redact(f"{first} {second}") == f"{REDACTED} {REDACTED}"
