"""A real HTTP server that answers each GET and POST as a function says, faults of the connection included."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What was asked."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is answered.

    Attributes
    ----------
    body : bytes
        Sent as it is.
    cut : int or None
        So many bytes of the body are sent, and then the connection ends.
    reset : bool
        The connection is reset in the place of an answer.
    hang : bool
        Nothing is sent as long as the server runs.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    hang: bool = False


def answer(document: Any, status: int = 200, **headers: str) -> Answer:
    """Return a document as JSON; of headers' names underscores are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(document).encode(), status, named)


def always(told: Answer) -> Callable[..., Answer]:
    """Return a script that knows one answer."""

    def script(*asked: object) -> Answer:
        return told

    return script


@dataclass
class ScriptedServer:
    """A server and what it was asked."""

    port: int
    script: Callable[[Request], Answer]
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The root of its API."""
        return f"http://127.0.0.1:{self.port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        state = self.server.state
        parts = urlsplit(self.path)
        request = Request(
            parts.path.removeprefix("/v1/"),
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
        )
        state.requests.append(request)
        self._send(state.script(request))

    def _send(self, told: Answer) -> None:
        if told.hang:
            self.server.state.closing.wait(60)
        if told.hang or told.reset:
            self._reset()
            return
        self.send_response(told.status)
        headers = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(told.body))}
        for name, value in {**headers, **told.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told.body[: told.cut])
        if told.cut is not None:
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is part of the tests."""


@contextmanager
def scripted_server(script: Callable[[Request], Answer]) -> Iterator[ScriptedServer]:
    """Yield a server on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = ScriptedServer(server.server_address[1], script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
