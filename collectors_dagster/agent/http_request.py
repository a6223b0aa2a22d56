"""The head of an HTTP request, read strictly (RFC 9110, RFC 9112). Pure.

Nothing of a body is wanted: the agent answers GET and HEAD, and closes the connection after each answer.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD_BYTES = 8192
MAX_HEADERS = 64
METHODS = ("GET", "HEAD")

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/([0-9])\.[0-9]")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\r\n\x00]*)")
_END = re.compile(rb"\r?\n\r?\n")
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Request(NamedTuple):
    """What is asked for.

    Attributes
    ----------
    query : str
        Behind the question mark, as it came.
    """

    method: str
    path: str
    query: str = ""


def parse_head(data: bytes) -> Request | HTTPStatus | None:
    r"""Return the request, the status to refuse it with, or ``None`` while its head is not complete.

    Examples
    --------
    >>> parse_head(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    Request(method='GET', path='/metrics', query='x=1')
    >>> parse_head(b"GET /metrics HTTP/1.1\r\nHost:") is None
    True
    >>> parse_head(b"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    <HTTPStatus.METHOD_NOT_ALLOWED: 405>
    """
    data = data[2:] if data.startswith(b"\r\n") else data
    end = _END.search(data, 0, MAX_HEAD_BYTES + 4)
    if end is None or end.start() > MAX_HEAD_BYTES:
        return _too_long(data) if len(data) > MAX_HEAD_BYTES else None
    request_line, *headers = re.split(rb"\r?\n", data[: end.start()])
    line = _REQUEST_LINE.fullmatch(request_line)
    if line is None:
        return HTTPStatus.BAD_REQUEST
    if line[3] != b"1":
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    return _refused(headers, asks_host=not request_line.endswith(b"1.0")) or _asked(line[1], line[2])


def _too_long(data: bytes) -> HTTPStatus:
    first_line_ends = b"\n" in data[:MAX_HEAD_BYTES]
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if first_line_ends else HTTPStatus.REQUEST_URI_TOO_LONG


def _refused(headers: list[bytes], *, asks_host: bool) -> HTTPStatus | None:
    if len(headers) > MAX_HEADERS:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    found = [_HEADER.fullmatch(header) for header in headers]
    hosts = sum(1 for each in found if each is not None and each[1].lower() == b"host")
    if None in found or hosts > 1 or (asks_host and not hosts):
        return HTTPStatus.BAD_REQUEST
    return None


def _asked(method: bytes, target: bytes) -> Request | HTTPStatus:
    if method.decode("ascii") not in METHODS:
        return HTTPStatus.METHOD_NOT_ALLOWED
    path, _, query = _ABSOLUTE.sub("", target.decode("ascii"), count=1).partition("?")
    if target[:1] != b"/" and not _ABSOLUTE.match(target.decode("ascii")):
        return HTTPStatus.BAD_REQUEST
    return Request(method.decode("ascii"), path or "/", query)
