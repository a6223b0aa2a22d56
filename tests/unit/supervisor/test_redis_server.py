"""Which Redis server the embedded one is."""

from pathlib import Path

import pytest

from collectors_dagster.supervisor.redis import find_server, version_of


def test_a_server_that_appears_on_the_system_does_not_replace_the_locked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_server()
    older = tmp_path / "redis-server"
    older.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=00000000:0 malloc=libc bits=64'\n")
    older.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert version_of(older) == "7.0.15"
    assert find_server() == before
