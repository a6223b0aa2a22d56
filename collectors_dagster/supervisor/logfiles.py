"""Log files that stay bounded although their writers never close them.

A log has one writer, the supervisor, which takes the components' lines in (``intake``); its own lines go to a file
that it holds open. Rotation therefore copies the file and empties it: writers append, so they go on at its new end.
"""

import json
import os
from pathlib import Path

MOST_UNREAD_BYTES = 1_000_000
"""Size at which the file that a component prints to is emptied, once its lines are in the log."""

_TAIL = 16_384


def rotate(log: Path, *, max_bytes: int, backups: int) -> bool:
    """Move the content of `log` aside if it is larger than `max_bytes`; keep at most `backups` older files."""
    if not log.exists() or log.stat().st_size <= max_bytes:
        return False
    for number in range(backups, 1, -1):
        older = _numbered(log, number - 1)
        if older.exists():
            older.replace(_numbered(log, number))
    if backups:
        _copy(log, _numbered(log, 1), max_bytes)
    os.truncate(log, 0)
    return True


def last_line(log: Path, offset: int = 0) -> str:
    """Return the last line with words in it after `offset`, readable and short."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(offset, log.stat().st_size - _TAIL))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return _readable(said).removeprefix("collectors: ")[:400]


def _readable(line: str) -> str:
    """Return the message of a structured line, or the line."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    trouble = str(fields.get("exception", "")).strip().splitlines()
    return ": ".join([str(fields.get("event", line)), *trouble[-1:]])


def _copy(log: Path, copy: Path, max_bytes: int) -> None:
    """Copy the end of `log`: a file that grew huge between two looks must not fill the disk twice."""
    with log.open("rb") as source, copy.open("wb") as target:
        source.seek(max(0, log.stat().st_size - 2 * max_bytes))
        while block := source.read(1 << 16):
            target.write(block)


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
