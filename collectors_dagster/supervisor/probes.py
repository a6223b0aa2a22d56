"""Whether a server does its work already: one small question over its own protocol, no driver."""

import http.client
import socket
import struct
from pathlib import Path

_SECONDS = 2.0
_PROTOCOL_3 = 196608


def accepts_connections(host: str, port: int) -> bool:
    """Return whether something listens there."""
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError:
        return False
    return True


def postgres_answers(host: str, port: int) -> bool:
    """Return whether PostgreSQL asks for a password: while it recovers it answers with an error instead."""
    words = b"user\0postgres\0database\0postgres\0\0"
    question = struct.pack("!II", 8 + len(words), _PROTOCOL_3) + words
    return _ask(host, port, question, whole=False)[:1] == b"R"


def redis_answers(host: str, port: int, password: str) -> bool:
    """Return whether Redis takes the password and has finished loading."""
    return _ask(host, port, f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode()) == b"+OK\r\n+PONG\r\n+OK\r\n"


def page_answers(host: str, port: int, path: str) -> bool:
    """Return whether a GET gives 200."""
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def log_says(log: Path, sentence: bytes, offset: int) -> bool:
    """Return whether `sentence` stands in `log` after `offset` bytes; a log that was rotated since says yes."""
    try:
        with log.open("rb") as stream:
            if offset > log.stat().st_size:
                return True
            stream.seek(offset)
            return sentence in stream.read()
    except OSError:
        return False


def is_newer(path: Path, than: float) -> bool:
    """Return whether `path` was written after `than` (seconds since the epoch)."""
    try:
        return path.stat().st_mtime >= than
    except OSError:
        return False


def _ask(host: str, port: int, question: bytes, *, whole: bool = True) -> bytes:
    """Return what the server says until it closes or falls silent, or the first of it."""
    answer = b""
    try:
        with socket.create_connection((host, port), _SECONDS) as connection:
            connection.sendall(question)
            while len(answer) < 4096 and (part := connection.recv(4096)):
                answer += part
                if not whole:
                    break
    except OSError:
        return answer
    return answer
