"""Processes that no test leaves behind, not even one that fails half way."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def killed_at_last(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    user: str | None = None,
    start_new_session: bool = False,
) -> Iterator["subprocess.Popen[str]"]:
    """Start a process, its input and output pipes of text, and kill it where the block ends, however it ends.

    A bare ``Popen`` as a context waits instead: for ever, where an assertion failed before the block stopped it.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        user=user,
        start_new_session=start_new_session,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
