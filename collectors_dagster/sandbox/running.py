"""Running a sandbox: in the foreground until a signal, or in a thread beside a test."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.sandbox.control import controlled
from collectors_dagster.sandbox.http import Answer, HttpServer, Request
from collectors_dagster.sandbox.options import SandboxOptions
from collectors_dagster.sandbox.service import Sandbox

_T = TypeVar("_T")
_START_SECONDS = 10.0


async def _listening(sandbox: Sandbox, host: str, port: int) -> HttpServer:
    """Start to listen, and tell the sandbox where."""

    async def respond(request: Request) -> Answer:
        if request.path == "/sandbox" or request.path.startswith("/sandbox/"):
            return controlled(sandbox, request)
        return await sandbox.respond(request)

    sandbox.everything.playlists.large.items.at(
        sandbox.clock.now()
    )  # made now: of 100,000 items nobody shall wait for it
    server = HttpServer(respond)
    chosen = await server.start(host, port)
    shown = f"[{host}]" if ":" in host else host
    sandbox.base_url = f"http://{shown}:{chosen}"
    return server


def serve(options: SandboxOptions, clock: Clock, host: str, port: int, ready: Callable[[Sandbox], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once it listens.

    Raises
    ------
    OSError
        If the address is taken.
    """

    async def run() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, over.set)
        sandbox = Sandbox(options, clock)
        server = await _listening(sandbox, host, port)
        ready(sandbox)
        await over.wait()
        await server.stop()

    asyncio.run(run())


@dataclass(frozen=True, slots=True)
class BackgroundSandbox:
    """A sandbox that serves in a thread of this process."""

    sandbox: Sandbox
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[Sandbox], _T]) -> _T:
        """Run a function in the sandbox's own thread, between two requests; return what it returns."""

        async def run() -> _T:
            return function(self.sandbox)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(_START_SECONDS)


@contextmanager
def in_background(options: SandboxOptions, clock: Clock, port: int = 0) -> Iterator[BackgroundSandbox]:
    """Serve on 127.0.0.1 (port 0: a free one) while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="spotify-sandbox", daemon=True)
    thread.start()
    sandbox = Sandbox(options, clock)
    try:
        server = asyncio.run_coroutine_threadsafe(_listening(sandbox, "127.0.0.1", port), loop).result(_START_SECONDS)
        try:
            yield BackgroundSandbox(sandbox, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(_START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_SECONDS)
        loop.close()
