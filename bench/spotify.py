"""Spotify pulls under limits, bans and faults: time beside the optimum, requests sent in vain, rows lost, memory.

The sandbox runs in a process of its own and counts; every pull is a fresh process, and Redis is real. The optimum of R
requests under a limit of N in W seconds is ``floor((R - 1) / N) * W`` and the time of what the last window takes, here
that of as many requests without a limit. Peers (spotipy, tekore) pull the same in the same run, where installed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from tests.support.environment import clean_environment
from tests.support.redis import running_redis

ROOT = Path(__file__).parents[1]
WINDOW, LIMIT, REQUESTS, LATENCY = 10.0, 40, 190, 0.03
LOCKOUT = 20.0
SMALL, LARGE = 10_000, 100_000
PEERS = tuple(name for name in ("spotipy", "tekore") if find_spec(name))


class Server:
    """A sandbox in another process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.told: dict[str, Any] = self._answer()

    def begin(self, limit: Mapping[str, float] | None = None, **others: Any) -> None:
        """Count anew, under a limit."""
        self._say({"do": "begin", "limit": limit, **others})

    def counts(self) -> dict[str, Any]:
        """Return what was counted."""
        return self._say({"do": "counts"})

    def _say(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def serving(mode: str = "extended", items: int = 1000, latency: float = LATENCY) -> Iterator[Server]:
    """Yield a sandbox."""
    told = json.dumps({"mode": mode, "items": items, "latency": latency})
    with _process("bench.spotify_server", told) as process:
        yield Server(process)


@contextmanager
def _process(module: str, told: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", module, told]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


class Puller:
    """Pulls in fresh processes that share a Redis."""

    def __init__(self, redis: str) -> None:
        self.redis = redis
        self.prefix = ""
        self.forget()

    def forget(self) -> None:
        """Begin with an empty Redis."""
        self.prefix = f"bench-{uuid4().hex[:8]}:"

    def pull(self, server: Server, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Pull all parts at once, each in a process; return what each tells."""
        running = []
        common = {
            "client": "ours",
            "api_url": server.told["api_url"],
            "account": server.told["account"],
            "token": server.told["app_token"],
            "redis": self.redis,
            "prefix": self.prefix,
            "window": WINDOW,
            "limit": 0,
        }
        try:
            for part in parts:
                opened = _process("bench.spotify_worker", json.dumps({**common, **part}))
                running.append((opened, opened.__enter__()))
            for _, process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for _, process in running:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            return [json.loads(process.stdout.readline()) for _, process in running if process.stdout]
        finally:
            for opened, _ in running:
                opened.__exit__(None, None, None)


def measure() -> Report:
    goals: list[Goal] = []
    detail: dict[str, Any] = {"window_seconds": WINDOW, "limit": LIMIT, "requests": REQUESTS, "peers": PEERS}
    with running_redis() as redis:
        puller = Puller(redis)
        with serving() as server:
            goals += _limits(server, puller, detail)
            goals += _ban(server, puller)
            goals += _artists(server, puller, "extended", 10)
            goals += _silent_loss(server, puller, detail)
        with serving("development", latency=0.0) as server:
            goals += _artists(server, puller, "development", 501)
        goals += _volume(puller, detail)
    return Report("spotify", tuple(goals), detail)


def _limits(server: Server, puller: Puller, detail: dict[str, Any]) -> Iterator[Goal]:
    ids = server.told["artists"][:REQUESTS]
    whole = (REQUESTS - 1) // LIMIT
    last = server.told["artists"][: REQUESTS - whole * LIMIT]
    server.begin()
    tail = puller.pull(server, [{"ids": last, "limit": 1000}])[0]["seconds"]
    optimum = whole * WINDOW + tail
    detail["optimum_seconds"] = optimum
    mild = {"requests": LIMIT, "window_seconds": WINDOW}
    locked = {**mild, "lockout_seconds": LOCKOUT, "escalation_seconds": 5.0}
    halves = [{"ids": ids[::2], "limit": LIMIT}, {"ids": ids[1::2], "limit": LIMIT}]
    known = [{"ids": ids, "limit": LIMIT}]
    for name, limit, parts, most in (
        ("limit known", mild, known, 1.05 + 1 / optimum),
        ("limit known, lockouts of 20 s", locked, known, 1.10),
        ("limit known, two processes", mild, halves, 1.10),
    ):
        puller.forget()
        found = _under(server, puller, limit, parts=parts, detail=detail, name=name)
        yield Goal(f"{name}: time / optimum", found["seconds"] / optimum, most)
        yield Goal(f"{name}: answers 429", found["refused"], 0)
        yield Goal(f"{name}: rows lost", REQUESTS - found["items"], 0)
    puller.forget()
    unknown = [{"ids": ids, "limit": 0}]
    for name, limit, most, refused in (
        ("limit unknown, first run", mild, 1.3, 2),
        ("limit unknown, later run", mild, 1.1, 0),
    ):
        SystemClock().sleep(
            WINDOW
        )  # what was asked before is in the client's window still, though the server forgot it
        found = _under(server, puller, limit, parts=unknown, detail=detail, name=name)
        yield Goal(f"{name}: time / optimum", found["seconds"] / optimum, most)
        yield Goal(f"{name}: answers 429", found["refused"], refused)
        yield Goal(f"{name}: requests during Retry-After", found["during"], 0)
        yield Goal(f"{name}: rows lost", REQUESTS - found["items"], 0)
    for peer in PEERS:
        _under(server, puller, mild, parts=[{"ids": ids, "client": peer}], detail=detail, name=f"limit, {peer}")


def _under(
    server: Server,
    puller: Puller,
    limit: Mapping[str, float],
    *,
    parts: Sequence[Mapping[str, Any]],
    detail: dict[str, Any],
    name: str,
) -> dict[str, Any]:
    server.begin(limit)
    told = puller.pull(server, parts)
    counts = server.counts()
    found = {
        "seconds": max(each["seconds"] for each in told),
        "items": sum(each["items"] for each in told),
        "refused": counts["by_status"].get("429", 0),
        "during": counts["during_retry_after"] + counts["in_flight"],
        "errors": [each["error"] for each in told if "error" in each],
        "each": [each["items"] for each in told],
    }
    detail[name] = found
    return found


def _ban(server: Server, puller: Puller) -> Iterator[Goal]:
    puller.forget()
    server.begin(None, ban=3600.0)
    one = [{"ids": server.told["artists"][:1]}]
    first = puller.pull(server, one)[0]
    later = puller.pull(server, [*one, *one])
    yield Goal("ban of an hour: seconds to the end of a run", max(each["seconds"] for each in (first, *later)), 2)
    yield Goal("ban of an hour: runs put off", sum("put_off" in each for each in (first, *later)), 3, "higher")
    yield Goal("ban of an hour: requests of three processes", server.counts()["total"], 1)
    server.begin(None, ban=0.001)


def _artists(server: Server, puller: Puller, mode: str, most: int) -> Iterator[Goal]:
    puller.forget()
    server.begin()
    found = puller.pull(server, [{"ids": server.told["artists"], "many": True, "limit": 10_000}])[0]
    yield Goal(f"500 artists, {mode}: requests", found["usage"]["requests"], most)
    yield Goal(f"500 artists, {mode}: lost", 500 - found["items"], 0)
    yield Goal(f"500 artists again within max-age, {mode}: requests", found["again_requests"], 0)


def _silent_loss(server: Server, puller: Puller, detail: dict[str, Any]) -> Iterator[Goal]:
    """Let every client read 1,000 items with one spoiled page; whoever ends early and says nothing loses."""
    lost = {}
    for client in ("ours", *PEERS):
        for kind in ("truncated_json", "html", "empty", "short_body", "status"):
            puller.forget()
            server.begin(None, fault={"kind": kind, "path": "/v1/playlists/*/items", "after": 4, "times": 1})
            part = {"client": client, "playlist": server.told["playlist"], "token": server.told["user_token"]}
            found = puller.pull(server, [{**part, "limit": 10_000}])[0]
            if "error" not in found and found["items"] != 1000:
                lost[f"{client}, {kind}"] = 1000 - found["items"]
            elif client == "ours" and "error" in found:
                lost[f"{client}, {kind}: {found['error']}"] = 1000
    detail["silently_lost"] = lost
    yield Goal("faults: items lost of 5 x 1000", sum(each for name, each in lost.items() if name.startswith("ours")), 0)


def _volume(puller: Puller, detail: dict[str, Any]) -> Iterator[Goal]:
    peak = {}
    for items in (SMALL, LARGE):
        with serving(items=items, latency=0.0) as server:
            puller.forget()
            server.begin()
            part = {"playlist": server.told["playlist"], "token": server.told["user_token"], "limit": 10_000}
            found = puller.pull(server, [part])[0]
            detail[f"{items} items"] = found
            peak[items] = found["peak_mb"]
            yield Goal(f"{items} items: lost", items - found["items"], 0)
            if items == SMALL:
                floor = puller.pull(server, [{**part, "client": "bare", "total": items}])[0]
                detail["bare httpx, 10000 items"] = floor
                yield Goal("10,000 items: CPU seconds", found["cpu_seconds"], 3.5)
                yield Goal("10,000 items: CPU / bare httpx", found["cpu_seconds"] / floor["cpu_seconds"], 1.3)
                yield Goal("unchanged playlist: requests", found["unchanged_requests"], 1)
    yield Goal("100,000 items: MB more than 10,000", peak[LARGE] - peak[SMALL], 20)


if __name__ == "__main__":
    main(measure, __doc__)
