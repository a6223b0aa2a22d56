"""The agent's own log lines."""

import errno
import io
import json
import subprocess
import sys

import pytest

from collectors_dagster.agent.lines import Lines
from collectors_dagster.security.redaction import Redactor


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


def lines_to(stream: io.StringIO, level: str = "info") -> Lines:
    return Lines("agent", stream, Redactor("s3cret-word"), lambda: level)


def test_a_line_is_one_json_object_with_who_what_and_when() -> None:
    stream = io.StringIO()
    lines_to(stream)("spool", "warning", "the disk is full", {"bytes": 5, "tenant": "acme"})
    told = json.loads(stream.getvalue())
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "the disk is full",
        "component": "agent",
        "logger": "spool",
        "level": "warning",
        "bytes": 5,
        "tenant": "acme",
    }


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_what_is_important_enough_is_written(level: str, written: int) -> None:
    stream = io.StringIO()
    for each in ("debug", "info", "warning", "error"):
        lines_to(stream, level)("agent", each, "something", {})
    assert len(stream.getvalue().splitlines()) == written


def test_a_handled_exception_is_in_its_line() -> None:
    stream = io.StringIO()
    try:
        int("s3cret-word")
    except ValueError:
        lines_to(stream)("agent", "exception", "it went wrong", {})
    told = json.loads(stream.getvalue())
    assert told["level"] == "error"
    assert "ValueError: invalid literal for int() with base 10: '[redacted]'" in told["exception"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_no_line_holds_a_secret(stream: io.StringIO) -> None:
    values = {"url": "postgresql://me:other@db/x", "password": "third", "nested": {"deep": ["s3cret-word"]}}
    lines_to(stream)("agent", "error", "tried s3cret-word", values)
    assert not [secret for secret in ("s3cret-word", "other@", "third") if secret in stream.getvalue()]


def test_a_value_that_json_does_not_know_is_written_as_people_see_it() -> None:
    stream = io.StringIO()
    lines_to(stream)("agent", "info", "x", {"path": {1, 2}, "error": ValueError("y")})
    assert json.loads(stream.getvalue())["error"] == "ValueError('y')"


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_cannot_be_written_stops_nobody() -> None:
    lines_to(Full())("agent", "error", "the disk is full", {})


def test_on_a_terminal_a_line_is_for_people() -> None:
    stream = Terminal()
    lines_to(stream)("agent", "info", "agent runs", {"epoch": "e1"})
    assert "agent runs" in stream.getvalue()
    assert "epoch='e1'" in stream.getvalue()


def test_the_agent_loads_nothing_large() -> None:
    program = (
        "import sys, collectors_dagster.agent.__main__\n"
        "large = {'asyncio', 'cryptography', 'dotenv', 'hashlib', 'importlib.resources', 'logging', 'numpy', 'psutil',"
        " 'psycopg', 'pydantic', 'pyinstrument', 'random', 'rich', 'ssl', 'structlog', 'tempfile', 'tracemalloc',"
        " 'typer', 'yaml', 'lz4', 'zstandard'}\n"
        "print(sorted(large & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
