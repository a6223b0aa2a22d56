"""An accounts service that kills old refresh tokens: in memory, real HTTP, answers as told, remembers what was asked.

Its rules are RFC 6749's and Spotify's of 2026: codes are redeemed once and need their verifier, a refresh may bring a
new refresh token, after which the old one is dead. It says nothing about quotas; the sandbox does.
"""

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "client-of-tests", "secret-of-the-tests-client"
USER = "user-of-tests"

Answer = tuple[int, dict[str, str], bytes]


def as_json(status: int, **values: Any) -> Answer:
    """Return an answer with a JSON body."""
    return status, {"Content-Type": "application/json"}, json.dumps(values).encode()


@dataclass
class TokenServer:
    """The service.

    Attributes
    ----------
    rotates : bool
        A refresh kills the refresh token and brings a new one.
    grace : int
        How often a dead refresh token is still taken.
    faults : list of callables
        Each takes the place of the next answer; one that returns None has the request handled, and loses its answer.
    gate : Event
        Token requests wait for it before they are handled.
    answer_gate : Event
        Their answers wait for it after they were handled.
    """

    port: int = 0
    rotates: bool = True
    grace: int = 0
    lifetime: float | str | None = 3600
    secret: str | None = CLIENT_SECRET
    scope: str | None = "user-library-read"
    profile: dict[str, Any] = field(default_factory=lambda: {"account_id": USER, "email": "somebody@example.org"})
    faults: list[Callable[[], Answer | None]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reused: int = 0
    declines: bool = False

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.living: set[str] = set()
        self.dead: dict[str, int] = {}
        self.access: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.gate, self.answer_gate = threading.Event(), threading.Event()
        self.arrived = threading.Semaphore(0)
        self.gate.set()
        self.answer_gate.set()

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """How often tokens were asked for."""
        return len(self.forms)

    def new_refresh_token(self) -> str:
        """Return a refresh token that lives."""
        token = f"refresh-{next(self.numbers):06d}-{'r' * 60}"
        self.living.add(token)
        return token

    def new_access_token(self) -> str:
        """Return an access token that the API takes."""
        token = f"access-{next(self.numbers):06d}-{'a' * 60}"
        self.access.add(token)
        return token

    def revoke_everything(self) -> None:
        """Kill all refresh tokens."""
        with self.lock:
            self.living.clear()

    def asked(self, form: dict[str, str], authorization: str | None) -> Answer | None:
        """Answer a request for tokens."""
        with self.lock:
            self.forms.append(form)
        self.arrived.release()
        self.gate.wait(30)
        with self.lock:
            fault = self.faults.pop(0) if self.faults else None
            planned = fault() if fault else None
            if planned is not None:
                return planned
            answer = self._handled(form, authorization)
        self.answer_gate.wait(30)
        return None if fault else answer

    def _handled(self, form: dict[str, str], authorization: str | None) -> Answer:
        if not self._authenticated(form, authorization):
            return as_json(401, error="invalid_client", error_description="Invalid client")
        kind = form.get("grant_type")
        if kind == "client_credentials":
            return self._tokens(None) if authorization else as_json(400, error="invalid_client")
        if kind == "authorization_code":
            return self._redeemed(form)
        if kind == "refresh_token":
            return self._refreshed(form)
        return as_json(400, error="unsupported_grant_type")

    def _authenticated(self, form: dict[str, str], authorization: str | None) -> bool:
        if authorization is None:
            return form.get("client_id") == CLIENT_ID
        pair = base64.b64encode(f"{CLIENT_ID}:{self.secret}".encode()).decode()
        return authorization == f"Basic {pair}"

    def _redeemed(self, form: dict[str, str]) -> Answer:
        asked = self.codes.pop(form.get("code", ""), None)
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri") or asked["code_challenge"] != challenge:
            return as_json(400, error="invalid_grant", error_description="Invalid authorization code")
        return self._tokens(self.new_refresh_token())

    def _refreshed(self, form: dict[str, str]) -> Answer:
        token = form.get("refresh_token", "")
        if token in self.living:
            if not self.rotates:
                return self._tokens(None)
            self.living.discard(token)
            self.dead[token] = self.grace
            return self._tokens(self.new_refresh_token())
        if self.dead.get(token, 0) > 0:
            self.dead[token] -= 1
            return self._tokens(self.new_refresh_token())
        self.reused += token in self.dead
        self.refused.append(token)
        return as_json(400, error="invalid_grant", error_description="Refresh token revoked")

    def _tokens(self, refresh: str | None) -> Answer:
        values: dict[str, Any] = {"access_token": self.new_access_token(), "token_type": "Bearer"}
        values |= {"expires_in": self.lifetime} if self.lifetime is not None else {}
        values |= {"scope": self.scope} if self.scope is not None else {}
        values |= {"refresh_token": refresh} if refresh is not None else {}
        return as_json(200, **values)

    def authorize(self, query: dict[str, str]) -> str:
        """Return where a browser goes that consents (or declines)."""
        code = f"code-{next(self.numbers)}-{'c' * 60}"
        self.codes[code] = query
        said = {"error": "access_denied"} if self.declines else {"code": code}
        return f"{query['redirect_uri']}?{urlencode({**said, 'state': query['state']})}"


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {name: values[0] for name, values in parse_qs(content, keep_blank_values=True).items()}
        self._send(self.server.state.asked(form, self.headers.get("Authorization")))

    def do_GET(self) -> None:
        state, parts = self.server.state, urlsplit(self.path)
        if parts.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self._send((302, {"Location": state.authorize(query)}, b""))
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") in state.access:
            self._send(as_json(200, **state.profile))
        else:
            self._send(as_json(401, error={"status": 401, "message": "The access token expired"}))

    def _send(self, answer: Answer | None) -> None:
        if answer is None:  # the answer is lost on its way
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    state: TokenServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is part of the tests."""


@contextmanager
def running_token_server(**options: Any) -> Iterator[TokenServer]:
    """Yield a service on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    state = TokenServer(port=server.server_address[1], **options)
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        state.answer_gate.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
