"""The loop-back listener: where the user's browser comes back to (RFC 8252, 7.3).

It listens on 127.0.0.1 or [::1] only, for one consent, and answers pages that load nothing and are kept nowhere.
Requests that do not answer our question are refused and do not end the waiting.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from collectors_dagster.config.spotify_addresses import is_loopback
from collectors_dagster.errors import (
    CollectorsError,
    ConfigurationError,
    RequestRejectedError,
    SecurityError,
    ServiceTimeoutError,
)
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.authorization import ConsentRequest

_READ_SECONDS = 5.0
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>collectors</title>
<body><p>{text}</p></body></html>"""


class RedirectListener:
    """Waits for one redirect; made by :func:`listening`."""

    def __init__(self, server: "_Server", redirect_uri: str) -> None:
        self._server = server
        self.redirect_uri = redirect_uri

    def wait(self, request: ConsentRequest, timeout_seconds: float) -> SecretStr:
        """Return the code that the browser brings.

        Raises
        ------
        RequestRejectedError
            If the user or the service said no.
        ServiceTimeoutError
            If nobody came in time.
        """
        self._server.request = request
        self._server.ready.set()
        try:
            found = self._server.found.get(timeout=timeout_seconds)
        except Empty:
            text = (
                f"nobody consented within {timeout_seconds:g} s; start again, and where the browser runs on another "
                "machine than this command, use --manual"
            )
            raise ServiceTimeoutError(text, service=SERVICE, operation="wait for consent") from None
        if isinstance(found, CollectorsError):
            raise found
        return found


@contextmanager
def listening(redirect_uri: str) -> Iterator[RedirectListener]:
    """Listen at a redirect URI, on any free port if it names none; yield a listener that knows its full address.

    Raises
    ------
    ConfigurationError
        If it is not on this machine, or its port is taken.
    """
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(host):
        raise ConfigurationError(
            f"spotify.redirect_uri: {redirect_uri} is not on this machine: use `collectors spotify connect --manual`"
        )
    try:
        server = _Server(host, parts.port or 0)
    except OSError as error:
        raise ConfigurationError(
            f"spotify.redirect_uri: cannot listen on {host} port {parts.port or 'any'}: {error.strerror}; "
            "leave the port out for any free one, or use --manual"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    server.path, server.host = parts.path or "/", f"{shown}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield RedirectListener(server, f"http://{server.host}{parts.path}")
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, host: str, port: int) -> None:
        if ipaddress.ip_address(host).version == 6:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.found: Queue[SecretStr | CollectorsError] = Queue()
        self.ready = threading.Event()
        self.request: ConsentRequest | None = None
        self.path = self.host = ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a traceback could hold the address, and with it the code."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_SECONDS
    server_version, sys_version = "collectors", ""

    def do_GET(self) -> None:
        """Take the redirect; refuse everything else."""
        path, _, query = self.path.partition("?")
        if path != self.server.path or self.headers.get("Host") != self.server.host:
            self._answer(404, "There is nothing here.")
            return
        if not self.server.ready.wait(_READ_SECONDS) or self.server.request is None:
            self._answer(503, "Not ready yet; try again.")
            return
        try:
            code = self.server.request.code("?" + query)
        except SecurityError:
            self._answer(400, "This does not answer the question that was asked. Open the printed address again.")
        except RequestRejectedError as error:
            self._answer(200, "Nothing was connected. The command says why; you may close this page.")
            self.server.found.put(error)
        else:
            self._answer(200, "Spotify said yes. The command goes on; you may close this page.")
            self.server.found.put(code)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Log nothing: the address holds the code."""

    def _answer(self, status: int, text: str) -> None:
        body = _PAGE.format(text=text).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
