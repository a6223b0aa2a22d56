"""A wire to a Redis that can be cut after some of what comes back."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LINES_OF_A_REPLY = 3
"""A list of two integers."""


@dataclass
class CutWire:
    """The wire.

    Attributes
    ----------
    whole_replies : int or None
        After so many the first connection is cut; None: never. Later connections are whole.
    requests : int
        How often the client sent something and the server had answered all before.
    """

    server: socket.socket
    behind: tuple[str, int]
    whole_replies: int | None
    requests: int = 0
    connections: int = 0
    threads: list[threading.Thread] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    _asked: bool = False

    @property
    def url(self) -> str:
        """Its address, as that of a Redis."""
        return f"redis://127.0.0.1:{self.server.getsockname()[1]}/0"

    def serve(self) -> None:
        """Take connections until the socket is shut."""
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.create_connection(self.behind)
            self.sockets += [near, far]
            self.connections += 1
            lines = (
                None if self.whole_replies is None or self.connections > 1 else self.whole_replies * LINES_OF_A_REPLY
            )
            self._start(self._there, near, far)
            self._start(self._back, near, far, lines)

    def _start(self, act: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=act, args=arguments, name="cut-wire")
        thread.start()
        self.threads.append(thread)

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while said := near.recv(65_536):
                self.requests += not self._asked
                self._asked = True
                far.sendall(said)
        except OSError:
            pass
        finally:
            shut(far)

    def _back(self, near: socket.socket, far: socket.socket, lines: int | None) -> None:
        try:
            while said := far.recv(65_536):
                self._asked = False
                if lines is not None:
                    kept = said.split(b"\r\n")[:lines]
                    lines -= len(kept)
                    said = b"".join(line + b"\r\n" for line in kept)
                near.sendall(said)
                if lines == 0:
                    break
        except OSError:
            pass
        finally:
            shut(near)
            shut(far)


def shut(connection: socket.socket) -> None:
    """End a connection that may have ended."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@contextmanager
def cutting_after(url: str, whole_replies: int | None) -> Iterator[CutWire]:
    """Yield a wire to the Redis at `url`."""
    address = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        wire = CutWire(server, (str(address.hostname), int(address.port or 6379)), whole_replies)
        thread = threading.Thread(target=wire.serve, name="cut-wire")
        thread.start()
        try:
            yield wire
        finally:
            shut(server)
            thread.join()
            for each in wire.sockets:
                shut(each)
            for running in wire.threads:
                running.join()
            for each in wire.sockets:
                each.close()
