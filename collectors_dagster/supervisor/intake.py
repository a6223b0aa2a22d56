"""From what components print to logs of JSON lines.

A component writes to a file that it holds open, so that it neither waits for the supervisor nor dies with it; the
supervisor takes the lines from there, at each turn, into the component's log. What is a JSON object already stays one
and is told the component if it does not say; everything else (servers written in C, a traceback, Dagster's console)
becomes the event of such an object. No line is believed to be free of secrets, whoever it says it is from: a library
may print anything, with any key, around the loggers that redact. What a dead supervisor left unread, the next one
takes. A line written in the instant between the last look at a large file and its emptying is lost: the price of not
standing between.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collectors_dagster.clock import Clock
from collectors_dagster.supervisor.logfiles import MOST_UNREAD_BYTES

_MOST_AT_ONCE = 4_000_000
"""Bytes taken in one turn; a component that prints more is read on at the next."""

_DAGSTER_TIME = "%Y-%m-%d %H:%M:%S %z"
_DAGSTER = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) - dagster - (?P<level>[A-Z]+) - "
    r"(?P<job>[A-Za-z0-9_]+) - (?P<run>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) - (?:\d+ - )?(?P<said>.*)"
)
"""A line of Dagster's console logger, which every run has and no setting turns into JSON."""


@dataclass(frozen=True, slots=True)
class Intake:
    """One component's way into its log.

    Attributes
    ----------
    output : Path
        What the component writes to.
    redact : callable
        Takes secrets out of a line; every line goes through it.
    """

    component: str
    output: Path
    log: Path
    clock: Clock
    redact: Callable[[str], str]

    def take(self, *, ended: bool = False) -> None:
        """Move whole lines into the log; of a component that has `ended`, the unfinished last line too."""
        place = self._place()
        text = self._unread(place, ended=ended)
        if text:
            with self.log.open("ab") as log:
                log.write("".join(f"{line}\n" for line in self._lines(text)).encode())
            place += len(text)
            self._remember(place)
        if place >= MOST_UNREAD_BYTES and place == self.output.stat().st_size:
            os.truncate(self.output, 0)  # its writer appends, and goes on at the new end
            self._remember(0)

    def _unread(self, place: int, *, ended: bool) -> bytes:
        if not self.output.exists():
            return b""
        with self.output.open("rb") as stream:
            stream.seek(place)
            text = stream.read(_MOST_AT_ONCE)
        whole = len(text) if ended or (len(text) == _MOST_AT_ONCE and b"\n" not in text) else text.rfind(b"\n") + 1
        return text[:whole]

    def _lines(self, text: bytes) -> Iterator[str]:
        """Yield JSON lines; what follows a line of Dagster's console belongs to it: it is an exception."""
        begun: dict[str, Any] = {}
        for line in text.decode(errors="replace").removesuffix("\n").split("\n"):
            event = self._event(line.rstrip("\r"))
            if begun and "raw" in event:
                if event["event"].strip():
                    begun["exception"] = "\n".join(filter(None, [begun.get("exception"), event["event"]]))
                continue
            yield from self._rendered(begun)
            begun = event if "run" in event and "dagster_job" in event else {}
            yield from self._rendered({} if begun else event)
        yield from self._rendered(begun)

    def _event(self, line: str) -> dict[str, Any]:
        """Return a line's fields; `raw` marks a line that was plain text."""
        said = self.redact(line)
        if fields := _json_object(said):
            return {**fields, "component": fields.get("component", self.component)}
        if (found := _DAGSTER.fullmatch(said)) and _is_time(found["at"]):
            at = datetime.strptime(found["at"], _DAGSTER_TIME).astimezone(UTC)
            return {
                "event": found["said"],
                "component": "run",
                "run": found["run"],
                "dagster_job": found["job"],
                "level": found["level"].lower(),
                "logger": "dagster",
                "timestamp": at.isoformat().replace("+00:00", "Z"),
            }
        return self._text(said)

    def _text(self, said: str) -> dict[str, Any]:
        now = self.clock.now().astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {"event": said, "component": self.component, "level": "info", "timestamp": now, "raw": True}

    def _rendered(self, event: dict[str, Any]) -> Iterator[str]:
        """Yield an event's line, redacted once more: it may hold in clear what was escaped before, or lines joined."""
        if event and str(event.get("event", "?")).strip():
            line = self.redact(json.dumps(event))
            yield line if _json_object(line) else json.dumps(self._text(line))

    def _place(self) -> int:
        """Return up to where the output was taken; a file that is shorter than that has begun anew."""
        try:
            place = int(self._memory.read_text())
        except (OSError, ValueError):
            return 0
        return place if self.output.exists() and place <= self.output.stat().st_size else 0

    def _remember(self, place: int) -> None:
        self._memory.write_text(str(place))

    @property
    def _memory(self) -> Path:
        return self.output.with_suffix(".taken")


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, _DAGSTER_TIME)  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def _json_object(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line) if line.startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
