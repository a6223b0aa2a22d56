"""Quarantine: batches that the store refuses for good, kept in files beside the spool until a person decides.

A file is one JSON object::

    {"version": 1, "tenant", "agent_id", "epoch", "first_seq", "last_seq", "reason", "at",
     "series": [[host, collector, metric, labels, unit, kind], ...],
     "samples": [[position in series, end of the interval, value], ...],
     "notes": [[host, collector, hour, intervals, gap_seconds, bytes], ...],
     "clock_events": [[host, ts, kind, seconds], ...]}

Where the spool is encrypted (``agent.spool_keys``) that object is sealed with the same keys, bound to the file's name,
and the file holds ``{"version": 2, "sealed": base64}``. Plain files of before stay readable.

Times are ISO 8601 in UTC. A batch always gets the same file name, so that a crash between keeping it and going on
behind it keeps it once. Names hold no word of a tenant's.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collectors_dagster.config.files import remove_durably, write_atomically
from collectors_dagster.errors import SecurityError, SpoolError
from collectors_dagster.integrations.timescale.delivery import DeliveryBatch, DeliveryNote
from collectors_dagster.integrations.timescale.sorting_out import quarantined
from collectors_dagster.logs import get_logger
from collectors_dagster.records import ClockEvent, ClockEventKind
from collectors_dagster.samples import Kind, Sample, SeriesKey
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

FORMAT_VERSION = 1
SEALED_VERSION = 2
SUFFIX = ".json"

log = get_logger("quarantine")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One kept batch.

    Attributes
    ----------
    name : str
        What ``collectors agent quarantine retry|drop`` takes.
    reason : str
        What the store said.
    """

    name: str
    size: int
    reason: str
    at: datetime
    batch: DeliveryBatch


@dataclass(frozen=True, slots=True)
class QuarantineSize:
    """How much is kept."""

    batches: int
    bytes: int


class Quarantine:
    """A bounded folder of refused batches; the oldest give way.

    Parameters
    ----------
    directory : Path
        Made when it is needed.
    max_bytes : int
        Size of all files together; the newest is kept even if it alone is larger.
    sealer : Sealer, optional
        Encrypts what is kept, and opens it; names, sizes and dropping need none.
    """

    def __init__(self, directory: Path, max_bytes: int, sealer: Sealer | None = None) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._sealer = sealer
        self.dropped_batches = 0

    def keep(self, batch: DeliveryBatch, reason: str, at: datetime) -> str:
        """Write a batch durably and return its name.

        Raises
        ------
        OSError
            If it cannot be written: then it must not leave the spool.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{_name(batch)}{SUFFIX}"
        write_atomically(path, self._sealed(path.stem, json.dumps(_document(batch, reason, at)).encode()), mode=0o640)
        self._make_room(path)
        return path.stem

    def size(self) -> QuarantineSize:
        """Return how much is kept now."""
        sizes = [size for _, _, size in self._files()]
        return QuarantineSize(len(sizes), sum(sizes))

    def names(self) -> list[str]:
        """Return what is kept, oldest first."""
        return [path.stem for _, path, _ in sorted(self._files())]

    def read(self, name: str) -> Quarantined:
        """Return a kept batch.

        Raises
        ------
        SpoolError
            If there is none of this name, its file is damaged, or it is sealed with a key that is not given.
        """
        path = self._path(name)
        content = path.read_bytes()
        try:
            return _quarantined(name, len(content), self._opened(name, json.loads(content)))
        except UnknownKeyError as error:
            raise SpoolError(
                f"the quarantined batch {name}: {error}; add that key behind the present one in agent.spool_keys or "
                f"agent.spool_keys_file, or drop the batch to give it up"
            ) from error
        except (ValueError, LookupError, TypeError, SecurityError) as error:
            raise SpoolError(f"the quarantined batch {path} cannot be read: {error}; drop it") from error

    def remove(self, name: str) -> None:
        """Forget a batch.

        Raises
        ------
        SpoolError
            If there is none of this name.
        """
        remove_durably(self._path(name))

    def _sealed(self, name: str, document: bytes) -> bytes:
        if self._sealer is None:
            return document
        sealed = self._sealer.seal(document, _context(name))
        return json.dumps({"version": SEALED_VERSION, "sealed": base64.b64encode(sealed).decode()}).encode()

    def _opened(self, name: str, content: dict[str, Any]) -> dict[str, Any]:
        """Return the document in a file that may be sealed."""
        if content["version"] != SEALED_VERSION:
            return content
        if self._sealer is None:
            raise UnknownKeyError("it is sealed, and no key is given")
        sealed = base64.b64decode(content["sealed"], validate=True)
        document: dict[str, Any] = json.loads(self._sealer.unseal(sealed, _context(name)))
        return document

    def _path(self, name: str) -> Path:
        found = {path.stem: path for _, path, _ in self._files()}  # a name from outside is never made into a path
        if name not in found:
            raise SpoolError(f"nothing called {name!r} is quarantined; see `collectors agent quarantine list`")
        return found[name]

    def _make_room(self, newest: Path) -> None:
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        for _, path, size in files:
            if total <= self._max_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                self.dropped_batches += 1
                total -= size
                log.warning("the quarantine is full; its oldest batch is dropped", batch=path.stem)

    def _files(self) -> Iterator[tuple[int, Path, int]]:
        """Yield age, path and size of each file."""
        for path in self._directory.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):  # dropped in this moment
                status = path.stat()
                yield status.st_mtime_ns, path, status.st_size


def quarantine_directory(spool_root: Path) -> Path:
    """Return where refused batches are kept: beside the spool."""
    return spool_root.parent / "quarantine"


def again(batch: DeliveryBatch, reason: str) -> DeliveryBatch:
    """Return a batch for another try: under a cursor of its own, because the spool's has passed it.

    Trying twice therefore stores nothing twice, neither samples nor counts.

    Parameters
    ----------
    reason : str
        Why it was put into quarantine: what the books say of that is taken back.
    """
    return DeliveryBatch(
        agent_id=batch.agent_id,
        epoch=f"{batch.epoch}/quarantine/{batch.first_seq}",
        tenant_id=batch.tenant_id,
        first_seq=batch.first_seq,
        last_seq=batch.last_seq,
        samples=batch.samples,
        notes=batch.notes,
        clock_events=batch.clock_events,
        quarantined=quarantined(batch.samples, reason, sign=-1),
    )


def _context(name: str) -> bytes:
    return f"quarantine/{name}".encode()


def _name(batch: DeliveryBatch) -> str:
    from hashlib import sha256  # noqa: PLC0415 - it brings a library of 3 MB, and quarantine is rare

    tenant = sha256(batch.tenant_id.encode()).hexdigest()[:8]
    return f"{batch.epoch}-{batch.first_seq:012d}-{batch.last_seq:012d}-{tenant}"


def _document(batch: DeliveryBatch, reason: str, at: datetime) -> dict[str, Any]:
    places = {series: place for place, series in enumerate(dict.fromkeys(sample.series for sample in batch.samples))}
    return {
        "version": FORMAT_VERSION,
        "tenant": batch.tenant_id,
        "agent_id": batch.agent_id,
        "epoch": batch.epoch,
        "first_seq": batch.first_seq,
        "last_seq": batch.last_seq,
        "reason": reason,
        "at": at.isoformat(),
        "series": [[one.host, one.collector, one.metric, one.labels, one.unit, one.kind.value] for one in places],
        "samples": [[places[sample.series], sample.ts.isoformat(), sample.value] for sample in batch.samples],
        "notes": [
            [note.host, note.collector, note.hour.isoformat(), note.intervals, note.gap_seconds, note.bytes]
            for note in batch.notes
        ],
        "clock_events": [
            [event.host, event.ts.isoformat(), event.kind.value, event.seconds] for event in batch.clock_events
        ],
    }


def _quarantined(name: str, size: int, content: dict[str, Any]) -> Quarantined:
    if content["version"] != FORMAT_VERSION:
        raise ValueError(f"it is of version {content['version']}")
    series = [_series(row) for row in content["series"]]
    batch = DeliveryBatch(
        agent_id=content["agent_id"],
        epoch=content["epoch"],
        tenant_id=content["tenant"],
        first_seq=content["first_seq"],
        last_seq=content["last_seq"],
        samples=[Sample(series[place], datetime.fromisoformat(ts), value) for place, ts, value in content["samples"]],
        notes=[
            DeliveryNote(host, collector, datetime.fromisoformat(hour), *counts)
            for host, collector, hour, *counts in content["notes"]
        ],
        clock_events=[
            ClockEvent(host, datetime.fromisoformat(ts), ClockEventKind(kind), seconds)
            for host, ts, kind, seconds in content["clock_events"]
        ],
    )
    return Quarantined(name, size, content["reason"], datetime.fromisoformat(content["at"]), batch)


def _series(row: Sequence[Any]) -> SeriesKey:
    host, collector, metric, labels, unit, kind = row
    return SeriesKey(host, collector, metric, tuple((key, value) for key, value in labels), unit, Kind(kind))
