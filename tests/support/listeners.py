"""A server that takes connections, notes what it is told, and answers everything with the same bytes or not at all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Listener:
    """What was said to it.

    Attributes
    ----------
    answer : bytes or None
        What each message is answered with; empty: the connection is cut; ``None``: nothing ever.
    """

    server: socket.socket
    answer: bytes | None = None
    received: bytes = b""
    connections: int = 0
    open: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as that of a Redis."""
        return f"redis://127.0.0.1:{self.server.getsockname()[1]}/0"

    def serve(self) -> None:
        """Take connections until the socket is shut."""
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), name="listener-talk").start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            while said := connection.recv(65536):
                self.received += said
                if self.answer == b"":
                    break
                if self.answer is not None:
                    connection.sendall(self.answer)
        except OSError:
            pass
        finally:
            connection.close()


@contextmanager
def listening() -> Iterator[Listener]:
    """Yield a listener on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server)
        thread = threading.Thread(target=listener.serve, name="listener")
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in listener.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
