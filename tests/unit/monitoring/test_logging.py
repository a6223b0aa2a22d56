"""What a process writes: one JSON object per line, with who and for whom, without secrets."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from collectors_dagster.config import Settings, load_settings
from collectors_dagster.monitoring.logging import configure_logging, log_context

SECRET = "s3cret-of-the-database"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the process its own logging back."""
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    yield
    sys.excepthook, threading.excepthook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, postgres={"host": "db.example", "password": SECRET}, log={"level": "info"})


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_carry_component_tenant_and_run(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("agent", settings)
    with log_context(tenant="aurora", run="run-1"):
        structlog.get_logger("delivery").info("delivered", rows=7)
    structlog.get_logger("delivery").info("idle")
    first, second = written(capsys)
    expected = {"event": "delivered", "rows": 7, "component": "agent", "tenant": "aurora", "run": "run-1"}
    assert expected.items() <= first.items()
    assert {"level": "info", "logger": "delivery"}.items() <= first.items()
    assert "tenant" not in second


def test_names_without_a_value_are_left_out(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("agent", settings)
    with log_context(tenant="aurora", run=None):
        structlog.get_logger().info("x")
    assert "run" not in written(capsys)[0]


def test_another_thread_names_the_component_too(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("agent", settings)
    courier = threading.Thread(target=lambda: structlog.get_logger().info("from a thread"))
    courier.start()
    courier.join()
    assert written(capsys)[0]["component"] == "agent"


def test_libraries_take_the_same_way(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("scorer", settings)
    logging.getLogger("a.library").warning("%s of %s", 1, 2)
    line = written(capsys)[0]
    assert {"event": "1 of 2", "component": "scorer", "level": "warning", "logger": "a.library"}.items() <= line.items()


def test_python_warnings_are_lines_too(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("scorer", settings)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
    assert "soon gone" in written(capsys)[0]["event"]


@pytest.mark.parametrize("level", ["debug", "error"])
def test_the_level_of_the_settings_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str) -> None:
    configure_logging("agent", load_settings(home=tmp_path, log={"level": level}))
    structlog.get_logger().info("perhaps")
    assert len(written(capsys)) == (1 if level == "debug" else 0)


def test_a_secret_is_in_no_line_wherever_it_hides(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("agent", settings)
    log = structlog.get_logger()
    said = f"connecting with {SECRET}"
    log.info(said, url=f"postgresql://me:{SECRET}@db", nested={"deep": [SECRET]})
    logging.getLogger("driver").error("refused %s", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("it failed")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "it failed" in out
    assert "ValueError" in out
    assert SECRET not in out


def test_a_generated_secret_of_the_data_directory_is_known_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secrets" / "dagster.password"
    secret.parent.mkdir()
    secret.write_text("generated-password-1")
    secret.chmod(0o600)
    configure_logging("agent", load_settings(home=tmp_path))
    structlog.get_logger().info("x", said="generated-password-1")
    assert "generated-password-1" not in capsys.readouterr().out


@pytest.mark.parametrize("how", ["main()", "thread = threading.Thread(target=main); thread.start(); thread.join()"])
def test_what_ends_a_process_or_a_thread_is_a_line_too(tmp_path: Path, how: str) -> None:
    program = (
        "import threading\nfrom collectors_dagster.config import load_settings\n"
        "from collectors_dagster.monitoring.logging import configure_logging\n"
        f"configure_logging('run', load_settings(home={str(tmp_path)!r}), 'run-1')\n"
        f"def main(): raise ValueError('no way on')\n{how}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    (line,) = map(json.loads, done.stdout.splitlines())
    assert {"component": "run", "run": "run-1", "level": "critical"}.items() <= line.items()
    assert line["exception"].endswith("ValueError: no way on")


def test_a_terminal_gets_readable_lines(tmp_path: Path) -> None:
    assert "{" not in said_to_a_terminal(tmp_path)
    assert "hello" in said_to_a_terminal(tmp_path)


def said_to_a_terminal(home: Path) -> str:
    """Run a process whose standard output is a pseudo terminal, and return what it wrote."""
    program = (
        "import structlog; from collectors_dagster.config import load_settings;"
        "from collectors_dagster.monitoring.logging import configure_logging;"
        f"configure_logging('agent', load_settings(home={str(home)!r}));"
        "structlog.get_logger().info('hello')"
    )
    with terminal() as (reader, writer):
        subprocess.run([sys.executable, "-c", program], stdout=writer, check=True)
        return os.read(reader, 65536).decode()


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    reader, writer = pty.openpty()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)
