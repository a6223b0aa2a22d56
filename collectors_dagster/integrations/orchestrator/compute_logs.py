"""What runs printed: Dagster keeps a directory of it per run and never takes one away.

Measured with the sample tenants, a run's output takes 20 kB on disk, 50 kB if it trained models. Deletion stays
inside the storage directory whatever lies there: every step down is opened by name, relative to the one above, and
a symbolic link is refused.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from collectors_dagster.integrations.orchestrator.event_log import KeepFor

MOST_BYTES = 50_000_000
"""Of all output together; beyond it the oldest of ended runs gives way before its time."""

_OUTPUT = "compute_logs"
_DOWN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What one run printed.

    Attributes
    ----------
    size_bytes : on disk
    touched : when something was written last
    """

    run_id: str
    size_bytes: int
    touched: datetime


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run that Dagster knows is: `at` is None while it has not ended."""

    at: datetime | None
    succeeded: bool = False


def expired(
    outputs: Sequence[RunOutput],
    ends: Mapping[str, RunEnd],
    now: datetime,
    *,
    keep: KeepFor | None = None,
    most_bytes: int = MOST_BYTES,
) -> list[str]:
    """Return the runs whose output goes: what their events' limits allow, then the oldest above `most_bytes`.

    A run that has not ended keeps its output. One that Dagster does not know any more counts as failed when it was
    last written to.

    Examples
    --------
    >>> from datetime import timedelta
    >>> now = datetime(2026, 11, 25, tzinfo=UTC)
    >>> old = RunOutput("a", 10, now - timedelta(days=3))
    >>> expired([old], {"a": RunEnd(old.touched, succeeded=True)}, now)
    ['a']
    >>> expired([old], {"a": RunEnd(None)}, now)
    []
    """
    limits = keep or KeepFor()
    total = sum(each.size_bytes for each in outputs)
    gone: list[str] = []
    for each, end in sorted(_ended(outputs, ends), key=lambda pair: pair[1].at or now):
        lasts = limits.narratives if end.succeeded else limits.failures
        if (end.at or now) < now - lasts or total > most_bytes:
            gone.append(each.run_id)
            total -= each.size_bytes
    return gone


class ComputeLogs:
    """The output of all runs.

    Parameters
    ----------
    storage
        Dagster's storage directory; everything in it that is no output of a run is left alone.
    """

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def outputs(self) -> list[RunOutput]:
        """Return what there is; nothing if the directory is absent or is a link."""
        found: list[RunOutput] = []
        with suppress(OSError), _opened(self._storage) as storage, os.scandir(storage) as entries:
            for name in [entry.name for entry in entries if _is_run_id(entry.name)]:
                with suppress(OSError), _opened(name, storage) as run, _opened(_OUTPUT, run) as output:
                    found.append(_measured(name, output))
        return found

    def remove(self, run_ids: Iterable[str]) -> None:
        """Delete the output of these runs.

        Raises
        ------
        OSError
            If it cannot be deleted, for example because another account wrote it.
        """
        with _opened(self._storage) as storage:
            for run_id in filter(_is_run_id, run_ids):
                with _opened(run_id, storage) as run:
                    shutil.rmtree(_OUTPUT, dir_fd=run)
                with suppress(OSError):  # something else of the run lies there too
                    os.rmdir(run_id, dir_fd=storage)


def _ended(outputs: Sequence[RunOutput], ends: Mapping[str, RunEnd]) -> Iterator[tuple[RunOutput, RunEnd]]:
    for each in outputs:
        end = ends.get(each.run_id, RunEnd(each.touched))
        if end.at is not None:
            yield each, end


def _measured(run_id: str, directory: int) -> RunOutput:
    own = os.stat(directory)
    files = [os.stat(name, dir_fd=directory, follow_symlinks=False) for name in os.listdir(directory)]
    everything = [own, *files]
    touched = max(each.st_mtime for each in everything)
    return RunOutput(run_id, sum(512 * each.st_blocks for each in everything), datetime.fromtimestamp(touched, UTC))


@contextmanager
def _opened(name: str | Path, above: int | None = None) -> Iterator[int]:
    """Yield a directory, opened as what it is: a symbolic link raises."""
    descriptor = os.open(name, _DOWN, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_run_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
