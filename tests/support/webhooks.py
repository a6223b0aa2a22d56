"""A real HTTP server that answers as told and remembers what it got."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Call:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class WebhookServer:
    """Where calls arrive.

    Attributes
    ----------
    answers : list of (int, dict)
        Status and headers of the next answers; 200 when it is used up. Status 0 means: no answer at all;
        -1: an answer that never ends.
    """

    port: int
    calls: list[Call] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook") -> str:
        """Return an address of this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of the messages, as they arrived."""
        return [call.body["kind"] for call in self.calls]


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        state = self.server.state
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        state.calls.append(Call(self.path, dict(self.headers), json.loads(content)))
        status, headers = state.answers.pop(0) if state.answers else (200, {})
        if status == 0:
            state.closing.wait(20)
            return
        if status < 0:
            self._drip()
            return
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self) -> None:
        """Send headers without end, a byte at a time."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.server.state.closing.wait(0.05):
            self.wfile.write(b".")
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: WebhookServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is part of the tests."""


@contextmanager
def running_webhooks() -> Iterator[WebhookServer]:
    """Yield a server on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = WebhookServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
