"""Which records the spool gave up before they were delivered, and when those were seen: durable, and small.

Whoever reads the spool on and on sees a pause where records are missing. A lane that begins behind them, after a
restart, sees nothing before its first record: from here it knows since when something was due, and books it as a gap.
It does so with the batch that moves the cursor past the hole, so that it is booked once, whatever is killed when.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.config.files import write_atomically
from collectors_dagster.logs import get_logger

MOST_STRETCHES = 100
"""Beyond it, the oldest are remembered as one."""

log = get_logger("spool")


class Stretch(NamedTuple):
    """Records in a row that were given up, and the wall clock of the first and the last of them."""

    first_seq: int
    last_seq: int
    from_ns: int
    to_ns: int

    def instant_ns(self, seq: int) -> int:
        """Return about when a record was seen: they came evenly.

        Examples
        --------
        >>> Stretch(11, 21, 1000, 2000).instant_ns(16), Stretch(11, 21, 1000, 2000).instant_ns(3)
        (1500, 1000)
        """
        place = min(max(seq, self.first_seq), self.last_seq) - self.first_seq
        return self.from_ns + (self.to_ns - self.from_ns) * place // max(1, self.last_seq - self.first_seq)


class Hole(NamedTuple):
    """What is missing between two records of a lane: up to which number, from when to when."""

    last_seq: int
    from_ns: int
    to_ns: int


def hole_between(stretches: Sequence[Stretch], acked_seq: int, end_seq: int, end_ns: int) -> Hole | None:
    """Return what was given up of the records from the one after `acked_seq` to the one before `end_seq`.

    Parameters
    ----------
    stretches : sequence of Stretch
        Oldest first.
    end_ns : int
        Wall clock of `end_seq`, if that was not given up itself.

    Examples
    --------
    >>> hole_between([Stretch(1, 100, 1000, 100_000)], 40, 101, 101_000)
    Hole(last_seq=100, from_ns=41000, to_ns=101000)
    >>> hole_between([Stretch(1, 100, 1000, 100_000)], 100, 101, 101_000) is None
    True
    """
    lost = [one for one in stretches if one.last_seq > acked_seq and one.first_seq < end_seq]
    if not lost:
        return None
    newest = lost[-1]
    to_ns = newest.instant_ns(end_seq) if newest.last_seq >= end_seq else end_ns
    from_ns = lost[0].instant_ns(acked_seq + 1)
    return Hole(min(newest.last_seq, end_seq - 1), from_ns, max(from_ns, to_ns))


class GivenUp:
    """The file ``<spool>/<epoch>/given_up.json``, for the one who gives up.

    Parameters
    ----------
    longest_pause_ns : int
        Between two records that came evenly.
    """

    def __init__(self, directory: Path, longest_pause_ns: int) -> None:
        self._path = given_up_path(directory)
        self._longest_pause_ns = longest_pause_ns
        self._stretches = read_given_up(directory)
        self._kept = True

    def add(self, stretch: Stretch) -> None:
        """Remember what is about to be given up."""
        known = self._stretches
        if known and stretch.last_seq <= known[-1].last_seq:  # tried before, and the file could not be removed
            return
        if known and self._goes_on(known[-1], stretch):
            known[-1] = known[-1]._replace(last_seq=stretch.last_seq, to_ns=stretch.to_ns)
        else:
            known.append(stretch)
        if len(known) > MOST_STRETCHES:
            oldest, second = known[:2]
            known[:2] = [oldest._replace(last_seq=second.last_seq, to_ns=second.to_ns)]
        self._kept = False
        self.keep()

    def keep(self) -> None:
        """Write what could not be written before: on a full disk there is room once something was given up."""
        if self._kept:
            return
        try:
            write_atomically(self._path, json.dumps(self._stretches).encode(), mode=0o640)
        except OSError as error:
            log.warning("what was given up is not noted yet", error=f"{self._path}: {error.strerror}")
            return
        self._kept = True

    def _goes_on(self, before: Stretch, after: Stretch) -> bool:
        pause_ns = after.from_ns - before.to_ns
        return after.first_seq == before.last_seq + 1 and 0 <= pause_ns <= self._longest_pause_ns


def given_up_path(directory: Path) -> Path:
    """Return the file of a spool's directory."""
    return directory / "given_up.json"


def read_given_up(directory: Path) -> list[Stretch]:
    """Return what was given up, oldest first; nothing if that cannot be read."""
    try:
        content = json.loads(given_up_path(directory).read_bytes())
        return [Stretch(*map(int, row)) for row in content]
    except (OSError, ValueError, TypeError):
        return []
