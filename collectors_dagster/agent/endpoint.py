"""A very small HTTP server: one thread, one request per connection, everything bounded.

Sampling never waits for it. A client that is slow, silent or one of too many loses its connection, nobody else does:
a request has a deadline, connections have a number, and the oldest gives way to a new one.
"""

import errno
import selectors
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, cast

from collectors_dagster.agent.http_request import MAX_HEAD_BYTES, METHODS, Request, parse_head
from collectors_dagster.clock import Clock
from collectors_dagster.logs import get_logger

log = get_logger("endpoint")

MAX_CONNECTIONS = 16
BACKLOG = 128
DEADLINE_SECONDS = 5.0
"""From accepting a connection to the last byte of the answer."""
LINGER_SECONDS = 1.0
"""For the client to read the answer and close: closing first would cut the answer off where it sent more than we
read."""
RETRY_SECONDS = 10.0


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    content_type: str
    body: bytes


class _Connection:
    """One client: first it is read, then it is written to, then it is left to close."""

    __slots__ = ("deadline", "incoming", "outgoing", "socket")

    def __init__(self, client: socket.socket, deadline: float) -> None:
        self.socket = client
        self.deadline = deadline
        self.incoming = bytearray()
        self.outgoing: memoryview | None = None


class Endpoint:
    """Serves what `answer` says, in a thread of its own. Whoever starts it closes it.

    Parameters
    ----------
    answer : callable
        Called in the endpoint's thread; if it raises, the client gets 500 and the log the reason.
    answers : dict
        Answers given, by status: counted here, for whoever wants to tell of them.

    Notes
    -----
    Where the port cannot be had, the log says so and it is tried again: samples are not given up for the sake of
    being looked at.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        answer: Callable[[Request], Answer],
        clock: Clock,
        answers: dict[int, int],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._listen = listen
        self._answer = answer
        self._clock = clock
        self._answers = answers
        self._deadline_seconds = deadline_seconds
        self._retry_seconds = retry_seconds
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, _Connection] = {}
        self._wake, self._waker = socket.socketpair()
        self._closing = False
        self._told = ""
        self._thread = threading.Thread(target=self._serve, name="endpoint", daemon=True)

    @property
    def port(self) -> int | None:
        """The port listened on; ``None`` while it cannot be had."""
        return int(self._listener.getsockname()[1]) if self._listener else None

    def start(self) -> None:
        """Begin to listen."""
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._bind()
        self._thread.start()

    def close(self) -> None:
        """Stop at once; answers on their way are cut off."""
        self._closing = True
        self._waker.send(b"x")
        self._thread.join()
        for each in (*self._connections, *([self._listener] if self._listener else []), self._wake, self._waker):
            each.close()
        self._selector.close()

    def _bind(self) -> None:
        address, port = self._listen
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
        except OSError as error:
            self._tell_once(error)
            return
        listener.settimeout(0)
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener
        log.info("endpoint listens", address=address, port=listener.getsockname()[1])

    def _tell_once(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason != self._told:
            remedy = "set COLLECTORS__PORTS__AGENT or COLLECTORS__AGENT__ENDPOINT_ADDRESS; sampling goes on"
            address, port = self._listen
            log.error("metrics and health cannot be served", address=address, port=port, error=reason, remedy=remedy)
        self._told = reason

    def _serve(self) -> None:
        while not self._closing:
            ready = self._selector.select(self._timeout())
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is not self._wake:
                    self._go_on(self._connections.get(cast("socket.socket", key.fileobj)))
            if self._listener is None and not ready:
                self._bind()
            self._expire()

    def _timeout(self) -> float | None:
        """Return how long nothing needs to be done unless somebody comes; ``None`` for ever."""
        now = self._clock.monotonic()
        due = [max(0.0, each.deadline - now) for each in self._connections.values()]
        if self._listener is None:
            due.append(self._retry_seconds)
        return min(due, default=None)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError as error:  # the client went away again, or descriptors ran out
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._pause(error)
            return
        client.settimeout(0)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop_oldest()
        connection = _Connection(client, self._clock.monotonic() + self._deadline_seconds)
        self._connections[client] = connection
        self._selector.register(client, selectors.EVENT_READ)

    def _pause(self, error: OSError) -> None:
        """Stop listening until the next try: a client that cannot be accepted stays ready, for ever."""
        assert self._listener is not None
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = None
        self._tell_once(error)

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._connections.values()), None)
        if oldest:
            self._drop(oldest)

    def _go_on(self, connection: _Connection | None) -> None:
        if connection is None:
            return  # it gave way to a newer one a moment ago
        try:
            if connection.outgoing is None:
                self._read(connection)
            elif connection.outgoing:
                self._write(connection)
            else:
                self._linger(connection)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        part = connection.socket.recv(MAX_HEAD_BYTES)
        connection.incoming += part
        if not part:
            self._drop(connection)
        elif b"\n" in part or len(connection.incoming) > MAX_HEAD_BYTES:  # else the head cannot be over yet
            found = parse_head(bytes(connection.incoming))
            if found is not None:
                self._reply(connection, found)

    def _reply(self, connection: _Connection, found: Request | HTTPStatus) -> None:
        answer = _refusal(found) if isinstance(found, HTTPStatus) else self._asked(found)
        self._answers[answer.status.value] = self._answers.get(answer.status.value, 0) + 1
        body = b"" if isinstance(found, Request) and found.method == "HEAD" else answer.body
        connection.outgoing = memoryview(self._head(answer) + body)
        self._selector.modify(connection.socket, selectors.EVENT_WRITE)
        self._write(connection)

    def _asked(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except Exception:
            log.exception("no answer", path=request.path)
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _head(self, answer: Answer) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Date: {self._clock.now():%a, %d %b %Y %H:%M:%S GMT}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append(f"Allow: {', '.join(METHODS)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _write(self, connection: _Connection) -> None:
        assert connection.outgoing is not None
        sent = connection.socket.send(connection.outgoing)
        connection.outgoing = connection.outgoing[sent:]
        if not connection.outgoing:
            connection.socket.shutdown(socket.SHUT_WR)
            connection.deadline = self._clock.monotonic() + LINGER_SECONDS
            self._selector.modify(connection.socket, selectors.EVENT_READ)

    def _linger(self, connection: _Connection) -> None:
        if not connection.socket.recv(MAX_HEAD_BYTES):
            self._drop(connection)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        for connection in [each for each in self._connections.values() if each.deadline <= now]:
            if connection.outgoing is None and connection.incoming:
                connection.deadline = now + LINGER_SECONDS
                self._late(connection)
            else:
                self._drop(connection)

    def _late(self, connection: _Connection) -> None:
        try:
            self._reply(connection, HTTPStatus.REQUEST_TIMEOUT)
        except OSError:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        del self._connections[connection.socket]
        connection.socket.close()


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())
