"""What commands over a file of the user's own share: a progress bar, instants as words, pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from collectors_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SHOWN = 20
"""Lines on the screen; the file has all."""


@contextmanager
def progress(doing: str, unit: str, total: int, *, quiet: bool) -> "Iterator[Callable[[int], None]]":
    """Show a bar on a terminal; nothing elsewhere. Yields a function that is told how many were done since."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(
        TextColumn(doing), BarColumn(), TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}"),
        TimeRemainingColumn(), console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def instant(seconds: float) -> str:
    """Return an instant as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def refuse_taken(file: Path, names: "list[str]", added: "tuple[str, ...]") -> None:
    """Refuse a file that has a column of the result's name already.

    Raises
    ------
    ConfigurationError
        Naming the first such column.
    """
    taken = [name for name in added if name in names]
    if taken:
        raise ConfigurationError(f"{file}: there is a column {taken[0]!r} already; rename it: the result has one")


def write_picture(path: Path, picture: bytes) -> None:
    """Write a PNG.

    Raises
    ------
    ConfigurationError
        If it cannot be written.
    """
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
