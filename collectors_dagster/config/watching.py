"""Noticing that files changed, for the price of one ``stat`` each."""

from collections.abc import Iterable
from pathlib import Path

from collectors_dagster.clock import Clock

POLL_SECONDS = 2.0
"""Pause between two looks; a change is followed within 5 s even if a look comes late."""

_FRESH_SECONDS = 2.5
"""A file written this recently may change again without a trace: some filesystems count whole seconds or two."""


class Fingerprint:
    """Remembers how files looked and says whether they look different now.

    What is compared is what no writer can keep: inode, size, times of the content and of the inode, through
    symbolic links, so that an atomic replace and a swapped link show. A file changed a moment ago counts as
    changed at the next look too (git treats its index in the same way).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: tuple[object, ...] | None = None

    def changed(self, paths: Iterable[Path]) -> bool:
        """Say whether any of `paths` changed, came or went since the last call; the first call says yes."""
        oldest_fresh = (self._clock.now().timestamp() - _FRESH_SECONDS) * 1e9
        looks = tuple(_look(path) for path in paths)
        differs = looks != self._seen
        fresh = any(changed_at > oldest_fresh for changed_at, *_ in looks)
        self._seen = None if fresh else looks
        return differs


def _look(path: Path) -> tuple[int, str, int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, str(path), 0, 0, 0, 0)
    latest = max(found.st_mtime_ns, found.st_ctime_ns)
    return (latest, str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
