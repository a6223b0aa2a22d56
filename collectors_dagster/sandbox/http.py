"""HTTP/1.1 on a socket of our own: h11 keeps the protocol's rules, and we keep the socket.

A ready-made server answers correctly or not at all. A sandbox must also be able to break off in the middle, to
promise more bytes than it sends, to send one byte at a time, and to reset the connection.
"""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

import h11

_READ_BYTES = 65_536
_MOST_BODY_BYTES = 1 << 20
_LEAST_TO_COMPRESS = 1024
_IDLE_SECONDS = 75.0
_SECONDS_BEFORE_RESET = 0.02
"""What was sent before shall arrive before: a reset throws away what is still on its way."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read whole.

    Attributes
    ----------
    query : mapping of str to str
        The last of equal names.
    raw_query : str
        As it was sent.
    headers : mapping of str to str
        Names in lower case.
    """

    method: str
    path: str
    raw_query: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def form(self) -> dict[str, str]:
        """Return the fields of an ``application/x-www-form-urlencoded`` body."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Wire:
    """How an answer goes over the wire.

    Attributes
    ----------
    ending : str
        `whole`; `reset` and `hang` in place of an answer or, with `share`, after that part of the body; `short`: the
        connection ends after `share` of the body that was announced.
    bytes_per_second : float
        0: as fast as it goes.
    """

    ending: Literal["whole", "short", "reset", "hang"] = "whole"
    share: float = 1.0
    bytes_per_second: float = 0.0


WHOLE = Wire()


@dataclass(slots=True)
class Answer:
    """What is sent back.

    Attributes
    ----------
    after : callable or None
        Called once the answer has been sent.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    wire: Wire = WHOLE
    after: Callable[[], None] | None = None


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a value as JSON."""
    return written_answer(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), status, headers)


def written_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return JSON that is written already."""
    return Answer(status, body, {"content-type": "application/json; charset=utf-8", **(headers or {})})


def text_answer(text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Answer:
    """Return a text or a page."""
    return Answer(status, text.encode(), {"content-type": content_type})


def compressed(answer: Answer, request: Request) -> Answer:
    """Pack an answer with gzip if it is worth it and the client accepts it."""
    if len(answer.body) < _LEAST_TO_COMPRESS or "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    answer.body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    answer.headers["content-encoding"] = "gzip"
    return answer


Respond = Callable[[Request], Awaitable[Answer]]


class HttpServer:
    """Listens on one address and answers with what `respond` returns."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses for 0."""
        self._server = await asyncio.start_server(self._connected, host, port, backlog=256)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Close the socket and every connection, those that hang, too."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await _Conversation(reader, writer, self._respond).hold()
        except (ConnectionError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
            pass  # a client that went away or spoke nonsense, or our own end: the connection is closed either way
        finally:
            self._connections.discard(task)
            writer.close()


class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond) -> None:
        self._reader = reader
        self._writer = writer
        self._respond = respond
        self._protocol = h11.Connection(h11.SERVER)

    async def hold(self) -> None:
        while (request := await self._request()) is not None:
            answer = await self._respond(request)
            try:
                await self._send(answer, request)
            finally:
                if answer.after is not None:
                    answer.after()
            if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
                return
            self._protocol.start_next_cycle()

    async def _request(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                if self._protocol.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._protocol.receive_data(await asyncio.wait_for(self._reader.read(_READ_BYTES), _IDLE_SECONDS))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _MOST_BODY_BYTES:
                    return None
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _read(head, bytes(body))
            else:
                return None  # closed, or paused: whoever sends requests without waiting is answered in turn

    async def _send(self, answer: Answer, request: Request) -> None:
        wire = answer.wire
        if wire.ending in {"reset", "hang"} and wire.share >= 1:
            return await self._break_off(wire)
        length = str(len(answer.body))
        headers = {"server": "spotify-sandbox", **answer.headers, "content-length": length}
        if answer.status == 304:
            del headers["content-length"]
        has_body = request.method != "HEAD" and answer.status not in {204, 304}
        body = answer.body if has_body else b""
        part = body if wire.ending == "whole" else body[: int(len(body) * wire.share)]
        reason = HTTPStatus(answer.status).phrase.encode()
        await self._write(h11.Response(status_code=answer.status, headers=list(headers.items()), reason=reason))
        await self._write_body(part, wire.bytes_per_second)
        if wire.ending == "whole":
            await self._write(h11.EndOfMessage())
        else:
            await self._break_off(wire)
        return None

    async def _write_body(self, body: bytes, bytes_per_second: float) -> None:
        if not bytes_per_second:
            return await self._write(h11.Data(data=body)) if body else None
        step = max(int(bytes_per_second / 20), 1)
        for place in range(0, len(body), step):
            await self._write(h11.Data(data=body[place : place + step]))
            await asyncio.sleep(step / bytes_per_second)
        return None

    async def _break_off(self, wire: Wire) -> None:
        """End a connection as the fault wants it; a hanging one ends when the client goes."""
        if wire.ending == "hang":
            with suppress(ConnectionError):
                while await self._reader.read(_READ_BYTES):
                    pass
        elif wire.ending == "reset":
            self._writer.transport.set_write_buffer_limits(0)
            await self._writer.drain()
            await asyncio.sleep(_SECONDS_BEFORE_RESET)
            connection: socket.socket = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._writer.transport.abort()

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._protocol.send(event) or b"")
        await self._writer.drain()


def _read(head: h11.Request, body: bytes) -> Request:
    target = head.target.decode("latin-1")
    path, _, query = target.partition("?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    values = dict(parse_qsl(query, keep_blank_values=True))
    return Request(head.method.decode("latin-1"), unquote(path), query, values, headers, body)
