"""Peers in processes of their own, as our patterns are measured: short processes, crowds, a Redis that is away."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import peers
from collectors_dagster.clock import SystemClock

ROOT = Path(__file__).parents[1]
CLOCK = SystemClock()
ROUNDS = 5
PROCESSES = 8
PATIENCE_SECONDS = 20.0


def doomed_calls(name: str, url: str) -> dict[str, int]:
    """Let twenty processes make five failing calls each, and one more."""
    circuit = f"doomed-{name}"
    ran = 0
    for _ in range(10):
        with ExitStack() as stack:
            batch = [stack.enter_context(_process("fail", name, url, circuit=circuit)) for _ in range(2)]
            ran += sum(_told(process)["ran"] for process in batch)
    with _process("fail", name, url, circuit=circuit) as further:
        return {"ran": ran, "under an open circuit": _told(further)["ran"]}


def probes_begun(name: str, url: str) -> list[int]:
    """Return how many of 32 callers in 8 processes got through a half-open circuit, in each round."""
    pause = 0.05
    with ExitStack() as stack:
        processes = [stack.enter_context(_process("probe", name, url, pause=pause)) for _ in range(PROCESSES)]
        found = []
        for number in range(ROUNDS):
            circuit = f"round-{number}-{name}"
            _open(peers.shared_breaker(name, url, circuit, failures=1, pause_seconds=pause))
            CLOCK.sleep(1.2)  # some keep their time in whole seconds
            _begin(processes, circuit)
            found.append(sum(_told(process)["began"] for process in processes))
        return found


def granted(name: str, url: str, skews: Iterable[float], *, rate: int, burst: int, seconds: float) -> dict[str, float]:
    """Let processes whose wall clocks are wrong take from one limit; return what they got of what it allows."""
    with ExitStack() as stack:
        common = {"rate": rate, "burst": burst, "seconds": seconds}
        processes = [stack.enter_context(_process("take", name, url, skew=skew, **common)) for skew in skews]
        for process in processes:
            _told(process)
        _begin(processes, "go")
        told = [_told(process) for process in processes]
    counts = [each["granted"] for each in told]
    span = max(each["last"] for each in told) - min(each["first"] for each in told)
    return {
        "granted": sum(counts),
        "bound": peers.most_granted(name, rate, burst, span),
        "least_of_mean": min(counts) / (sum(counts) / len(counts)),
        "questions_per_grant": sum(each["asked"] for each in told) / sum(counts),
    }


def first_decision_ms(name: str, url: str) -> float | str:
    """Return how long a peer's first decision takes; in words if that is too long to wait for."""
    with _process("decide", name, url) as process:
        _told(process)
        try:
            said, fault = process.communicate("go\n", timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"more than {PATIENCE_SECONDS * 1000:,.0f}"
        if not said:
            raise RuntimeError(_last_error(fault))
        return float(json.loads(said)["seconds"]) * 1000


@contextmanager
def _process(mode: str, name: str, url: str, **options: object) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.peer_process", mode, name, url, json.dumps(options)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _begin(processes: "Iterable[subprocess.Popen[str]]", word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()


def _told(process: "subprocess.Popen[str]") -> Any:
    """Return what a process tells; raise what ended it."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(_last_error(process.stderr.read()))
    return json.loads(line)


def _last_error(said: str) -> str:
    return next((each for each in reversed(said.splitlines()) if "Error" in each), "it ended without a word")


def _open(call: Callable[..., Any]) -> None:
    def doomed() -> None:
        raise ConnectionError("503")

    for _ in range(2):
        try:
            call(doomed)
        except Exception as error:
            if not isinstance(error, ConnectionError) and not peers.refuses(error):
                raise
