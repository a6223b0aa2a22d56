"""Reading the components' logs, as they are and as they grow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collectors_dagster.clock import Clock

_BLOCK = 65_536
_POLL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one component's log."""

    component: str
    text: str


def last_lines(logs: Sequence[Path], count: int) -> Iterator[Line]:
    """Yield the last `count` lines of each log."""
    for log in logs:
        yield from (Line(log.stem, text) for text in _tail(log, count))


def follow(logs: Sequence[Path], clock: Clock) -> Iterator[Line]:
    """Yield lines as they are written, for ever; a log that was emptied by rotation is read from its start."""
    places = {log: _size(log) for log in logs}
    while True:
        for log in logs:
            places[log], lines = _new_lines(log, places[log])
            yield from (Line(log.stem, text) for text in lines)
        clock.sleep(_POLL_SECONDS)


def _tail(log: Path, count: int) -> list[str]:
    text = b""
    with log.open("rb") as stream:
        place = _size(log)
        while place and text.count(b"\n") <= count:
            start = max(0, place - _BLOCK)
            stream.seek(start)
            text = stream.read(place - start) + text
            place = start
    return text.decode(errors="replace").splitlines()[-count:] if count else []


def _new_lines(log: Path, place: int) -> tuple[int, list[str]]:
    """Return the whole lines after `place`, and where they end."""
    size = _size(log)
    if size < place:
        place = 0
    if size == place:
        return place, []
    with log.open("rb") as stream:
        stream.seek(place)
        text = stream.read(size - place)
    whole = text.rfind(b"\n") + 1
    return place + whole, text[:whole].decode(errors="replace").splitlines()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
