"""``collectors agent top`` against a real agent: one frame for scripts, a live one on a terminal."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
from pydantic import SecretStr

from tests.support.agents import REPOSITORY, AgentHome, agent_home
from tests.support.environment import clean_environment
from tests.support.waiting import wait_until

ON_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Takes its standard input as the terminal whose keys are signals."""


@pytest.fixture
def agent(tmp_path: Path, database: SecretStr) -> Iterator[AgentHome]:
    with agent_home(tmp_path) as home:
        home.write_tenant("aurora")
        home.deliver_to(database)
        yield home


def test_one_frame_is_printed_for_a_script(agent: AgentHome) -> None:
    agent.start()
    wait_until(lambda: agent.status()["delivery"]["tenants"].get("aurora", {}).get("rows", 0) > 0, seconds=30)
    for words in (("top", "--once"), ("top", "--once", "--url", agent.url), ("top",)):
        done = agent.command(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        for shown in ("cpu busy", "memory used", "collectors", "aurora", "closed segments", "▁"):
            assert shown in done.stdout
    agent.stop()


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_on_a_terminal_it_redraws_until_a_key_ends_it(agent: AgentHome, key: bytes) -> None:
    agent.start()
    shown, code = on_a_terminal(agent, key, frames=3)
    assert code in (0, 130)
    assert shown.count(b"cpu busy") >= 3
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")  # the cursor is given back
    assert b"\x1b[?1049l" in shown  # and the screen
    agent.stop()


def test_an_agent_that_stops_is_waited_for_and_said_so(agent: AgentHome) -> None:
    agent.start()
    shown, code = on_a_terminal(agent, b"q", frames=2, stops=True)
    assert code == 0
    assert b"does not answer" in shown


def test_without_an_agent_the_remedy_is_one_line(agent: AgentHome) -> None:
    assert "collectors agent run" in agent.command("top").stderr
    agent.start()
    agent.stop()
    done = agent.command("top")
    assert done.returncode == 1
    assert "collectors agent status" in done.stderr
    assert done.stderr.count("\n") == 1


def on_a_terminal(agent: AgentHome, key: bytes, *, frames: int, stops: bool = False) -> tuple[bytes, int]:
    """Run it on a pseudo terminal, press a key after some frames; return what was drawn and the exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_TERMINAL, "-m", "collectors_dagster.cli", "agent", "top"],
        cwd=REPOSITORY,
        env=clean_environment(TERM="xterm-256color", COLUMNS="120", LINES="40", **agent.environment),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown, enough = b"", False
    deadline = monotonic() + 120
    while monotonic() < deadline and not (process.poll() is not None and enough):
        if select.select([master], [], [], 0.1)[0]:
            with suppress(OSError):  # the other end is closed
                shown += os.read(master, 65536)
        seen = shown.count(b"cpu busy") >= frames and (not stops or b"does not answer" in shown)
        if stops and agent.process is not None and agent.process.poll() is None and shown.count(b"cpu busy") >= frames:
            agent.stop()
        if seen and not enough:
            enough = True
            os.write(master, key)
    os.close(master)
    try:
        return shown, process.wait(timeout=120)
    finally:
        process.kill()
