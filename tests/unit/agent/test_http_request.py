"""The request parser: strict, bounded, and never surprised."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.http_request import MAX_HEAD_BYTES, MAX_HEADERS, METHODS, Request, parse_head

HOST = b"Host: a\r\n"
WORDS = (b"GET ", b"HEAD ", b"POST ", b"/metrics", b"/?a=b", b"http://a/", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0")
ENDS = (b"\r\n", b"\n", b"\r", b"\r\n\r\n")
REST = (HOST, b"Host:", b": ", b" ", b"\x00", b"\xff", b"a" * 100, b"Content-Length: 5\r\n")
pieces = st.sampled_from((*WORDS, *ENDS, *REST))


@given(st.one_of(st.binary(max_size=300), st.lists(pieces, max_size=12).map(b"".join)))
def test_any_bytes_are_a_request_a_refusal_or_not_complete(data: bytes) -> None:
    found = parse_head(data)
    assert found is None or isinstance(found, HTTPStatus | Request)
    if isinstance(found, Request):
        assert found.method in METHODS
        assert found.path.startswith("/")
        assert data.lstrip(b"\r\n").startswith(found.method.encode())
    if isinstance(found, HTTPStatus):
        assert 400 <= found < 600


@given(st.lists(pieces, min_size=1, max_size=12).map(b"".join), st.data())
def test_what_was_decided_is_not_changed_by_more_bytes(data: bytes, more: st.DataObject) -> None:
    early = parse_head(data[: more.draw(st.integers(0, len(data)))])
    if early is not None:
        assert parse_head(data) == early


@given(
    st.sampled_from(METHODS),
    st.from_regex(r"/[!->@-~]{0,40}", fullmatch=True),
    st.from_regex(r"[!-~]{0,40}", fullmatch=True),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_a_good_request_is_understood(method: str, path: str, query: str, end: bytes) -> None:
    target = f"{path}?{query}" if query else path
    head = end.join([f"{method} {target} HTTP/1.1".encode(), b"host: x", b"Accept:", b"", b""])
    assert parse_head(head) == Request(method, path, query)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded: yes\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n", 400),
        (b"GET metrics HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"get /metrics HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * MAX_HEADERS + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * MAX_HEAD_BYTES, 431),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, 414),
    ],
)
def test_a_bad_request_is_refused_with_the_right_status(head: bytes, status: int) -> None:
    assert parse_head(head) == status


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n"])
def test_old_clients_and_a_stray_empty_line_are_taken(head: bytes) -> None:
    assert parse_head(head) == Request("GET", "/")


def test_an_absolute_target_means_its_path() -> None:
    head = b"GET http://host:9100/metrics?a=1 HTTP/1.1\r\n" + HOST + b"\r\n"
    assert parse_head(head) == Request("GET", "/metrics", "a=1")
    assert parse_head(b"GET http://host HTTP/1.1\r\n" + HOST + b"\r\n") == Request("GET", "/")
