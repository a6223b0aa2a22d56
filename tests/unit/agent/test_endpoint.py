"""The endpoint over real sockets: right statuses, and nobody who is slow or one of too many holds it up."""

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.agent.endpoint import MAX_CONNECTIONS, Answer, Endpoint
from collectors_dagster.agent.http_request import Request
from collectors_dagster.clock import SystemClock
from tests.support.patience import patient
from tests.support.postgres import free_port
from tests.support.waiting import wait_until

LARGE = b"x" * 8_000_000
DEADLINE = 0.4


def answer(request: Request) -> Answer:
    if request.path == "/broken":
        raise ValueError("no answer today")
    body = LARGE if request.path == "/large" else f"{request.path} {request.query}".encode()
    return Answer(HTTPStatus.OK, "text/plain", body)


@pytest.fixture
def answers() -> dict[int, int]:
    return {}


@pytest.fixture
def endpoint(answers: dict[int, int]) -> Iterator[Endpoint]:
    opened = Endpoint(("127.0.0.1", 0), answer, SystemClock(), answers, deadline_seconds=DEADLINE)
    opened.start()
    yield opened
    opened.close()


def connected(endpoint: Endpoint) -> socket.socket:
    assert endpoint.port
    return socket.create_connection(("127.0.0.1", endpoint.port), 5)


def said(endpoint: Endpoint, request: bytes) -> bytes:
    """Return everything that the endpoint answers until it closes."""
    with connected(endpoint) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def asked(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=5)
    connection.request(method, path)
    reply = connection.getresponse()
    found = reply.status, reply.read(), dict(reply.getheaders())
    connection.close()
    return found


def test_get_and_head_are_answered_alike_but_for_the_body(endpoint: Endpoint, answers: dict[int, int]) -> None:
    status, body, headers = asked(endpoint, "/metrics?a=1")
    assert (status, body) == (200, b"/metrics a=1")
    status, body, of_head = asked(endpoint, "/metrics?a=1", "HEAD")
    assert (status, body) == (200, b"")
    assert of_head["Content-Length"] == headers["Content-Length"] == "12"
    assert answers == {200: 2}


def test_another_method_is_refused_and_the_right_ones_named(endpoint: Endpoint) -> None:
    status, _, headers = asked(endpoint, "/metrics", "DELETE")
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_a_large_answer_arrives_whole(endpoint: Endpoint) -> None:
    assert asked(endpoint, "/large")[1] == LARGE


def test_an_answer_that_cannot_be_made_is_500_and_the_next_one_is_made(endpoint: Endpoint) -> None:
    assert asked(endpoint, "/broken")[0] == 500
    assert asked(endpoint, "/fine")[0] == 200


def test_a_request_too_long_is_refused_and_the_refusal_arrives(endpoint: Endpoint) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    assert said(endpoint, head + b"b" * 30_000).startswith(b"HTTP/1.1 431 ")


def test_a_body_is_not_waited_for(endpoint: Endpoint) -> None:
    reply = said(endpoint, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
    assert reply.startswith(b"HTTP/1.1 405 ")


def test_a_client_that_never_finishes_its_request_is_told_and_dropped(endpoint: Endpoint) -> None:
    begun = monotonic()
    assert said(endpoint, b"GET / HTTP/1.1\r\nHo").startswith(b"HTTP/1.1 408 ")
    assert said(endpoint, b"") == b""
    assert monotonic() - begun < patient(10 * DEADLINE)


def test_a_client_that_does_not_read_its_answer_is_dropped(endpoint: Endpoint) -> None:
    with connected(endpoint) as lazy:
        lazy.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: not endpoint._connections, seconds=5, what="the end of the lazy client's connection")
        assert asked(endpoint, "/fine")[0] == 200


def test_a_crowd_of_silent_clients_keeps_nobody_out(answers: dict[int, int]) -> None:
    lasting = Endpoint(("127.0.0.1", 0), answer, SystemClock(), answers, deadline_seconds=60)
    lasting.start()
    with ExitStack() as crowd:
        for _ in range(10 * MAX_CONNECTIONS):
            crowd.enter_context(connected(lasting)).sendall(b"GET / HT")
        begun = monotonic()
        assert asked(lasting, "/fine")[0] == 200
        assert monotonic() - begun < patient(2)
        assert len(lasting._connections) <= MAX_CONNECTIONS
    lasting.close()


def test_a_port_that_is_taken_is_told_and_had_once_it_is_free(
    answers: dict[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        waiting = Endpoint(("127.0.0.1", port), answer, SystemClock(), answers, retry_seconds=0.1)
        waiting.start()
        assert waiting.port is None
        assert "COLLECTORS__PORTS__AGENT" in "".join(capfd.readouterr())
    wait_until(lambda: waiting.port == port, seconds=5, what="the port")
    assert asked(waiting, "/fine")[0] == 200
    waiting.close()


def test_it_stops_at_once_with_clients_on_the_line(answers: dict[int, int]) -> None:
    endpoint = Endpoint(("127.0.0.1", 0), answer, SystemClock(), answers)
    endpoint.start()
    with connected(endpoint) as client:
        client.sendall(b"GET / HT")
        begun = monotonic()
        endpoint.close()
        assert monotonic() - begun < patient(1)


@pytest.fixture
def speak(endpoint: Endpoint) -> Callable[[bytes], bytes]:
    def speaking(data: bytes) -> bytes:
        with connected(endpoint) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))

    return speaking


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.one_of(st.binary(max_size=400), st.from_regex(rb"(GET|HEAD|PUT) /[ -~]{0,9} HTTP/1.[01]\r\n(A: b)?")))
def test_garbage_gets_a_status_or_nothing_and_the_next_client_its_answer(
    endpoint: Endpoint, speak: Callable[[bytes], bytes], data: bytes
) -> None:
    try:
        reply = speak(data)
    except ConnectionError:
        reply = b""
    assert not reply or reply.startswith(b"HTTP/1.1 ")
    assert asked(endpoint, "/fine")[1] == b"/fine "
