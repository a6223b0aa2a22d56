"""Samples in bulk: a window written exactly, and who delivered when. What they say is read by `reading`.

A sample's time is the end of its interval, so a window holds the samples after its start up to and
including its end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from collectors_dagster.errors import ConstraintViolatedError, StorageError
from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.ledger import book
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.refusals import (
    Reason,
    Refusal,
    Tally,
    is_active,
    read_limits,
    rebook_refusals,
)
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.series import SeriesTable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey

if TYPE_CHECKING:  # they need numpy: schedules ask who delivered when, and their process stays small
    from collectors_dagster.frames import Floats, Times
    from collectors_dagster.integrations.timescale.loading import Portion
    from collectors_dagster.integrations.timescale.sifting import Integers, Piece

QUERIES = load_queries("samples")

PIECE_ROWS = 500_000
"""Arrays are cut into pieces of about so many: some 60 bytes a row are needed on the way to the database."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of a load.

    Attributes
    ----------
    rows : int
        Samples that the window holds of it now.
    sha256 : str
        Checksum of the rows; the same data give the same, in whatever order and pieces.
    refusals : tuple of Refusal
        Samples that were left out, by source and reason.
    """

    rows: int
    sha256: str
    refusals: tuple[Refusal, ...] = ()

    @property
    def refused(self) -> int:
        """Samples that were left out."""
        return sum(one.samples for one in self.refusals)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is loaded for whom."""

    tenant_id: str
    tenant_key: int
    dataset: str
    window: Window
    series: Sequence[SeriesKey]
    run_id: str

    @property
    def said(self) -> str:
        """What is being tried, for messages."""
        hosts = sorted({one.host for one in self.series})
        of = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        return f"load {self.dataset!r} of {of or 'no source'} for tenant {self.tenant_id!r}"


class SampleTable:
    """``core.sample``.

    Parameters
    ----------
    piece_rows : int
        Arrays are cut into pieces of about so many rows on their way to the database.
    """

    def __init__(
        self,
        database: Database,
        tenants: TenantTable,
        series: SeriesTable,
        backend: FoundBackend,
        *,
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        self._database = database
        self._tenants = tenants
        self._series = series
        self._backend = backend
        self._piece_rows = piece_rows

    @repeatable
    def write_window(
        self,
        tenant_id: str,
        dataset: str,
        window: Window,
        *,
        series: Sequence[SeriesKey],
        index: "Integers",
        ts: "Times",
        values: "Floats",
        run_id: str,
    ) -> LoadResult:
        """Make a window of some sources be exactly this, in one transaction with its ledger row.

        Whatever the window held of the same sources (host and collector of `series`) is replaced.

        Parameters
        ----------
        dataset : str
            The ledger's name for this load.
        series : sequence of SeriesKey
        index : shape (n,)
            Position in `series` of each value.
        ts : shape (n,), datetime64
            Ends of the intervals, after the window's start, up to its end.
        values : shape (n,)
        run_id : str
            Who wrote it.

        Raises
        ------
        ConstraintViolatedError
            If no sample of it can be stored: then the window stays as it was.
        StorageError
            If the tenant is removed, before or meanwhile.

        Notes
        -----
        A sample that cannot be stored (see :class:`Reason`) is left out, and counted in the books: see
        :meth:`LoadLedger.refused`.
        """
        job = _Job(tenant_id, self._tenants.key(tenant_id), dataset, window, series, run_id)
        from collectors_dagster.integrations.timescale.loading import portions  # noqa: PLC0415 - see above
        from collectors_dagster.integrations.timescale.sifting import Piece  # noqa: PLC0415 - see above

        whole, cut = portions(Piece(index, ts, values), len(series), self._piece_rows)
        return self._load(job, cut, whole)

    def write_pieces(
        self,
        tenant_id: str,
        dataset: str,
        window: Window,
        *,
        series: Sequence[SeriesKey],
        pieces: "Iterable[Piece]",
        run_id: str,
    ) -> LoadResult:
        """Do the same with samples that come piece by piece: a window may be larger than the memory.

        Of two values of a series at one time the first stays. `pieces` are asked for in the transaction: what they
        raise undoes the load. Some 30 MB are needed beside the largest piece.
        """
        job = _Job(tenant_id, self._tenants.key(tenant_id), dataset, window, series, run_id)
        from collectors_dagster.integrations.timescale.loading import slices  # noqa: PLC0415 - see above

        cut = (portion for piece in pieces for portion in slices(piece, self._piece_rows))
        return self._load(job, cut, ())

    def _load(self, job: _Job, cut: "Iterable[Portion]", whole: Sequence[int]) -> LoadResult:
        from collectors_dagster.integrations.timescale.loading import Load  # noqa: PLC0415 - see above
        from collectors_dagster.integrations.timescale.sifting import Scope, Sieve  # noqa: PLC0415 - see above

        known = self._series.resolved(job.tenant_key, job.series)
        tally = Tally()
        try:
            with self._database.transaction(job.said) as cursor:
                active, limits = read_limits(cursor, job.tenant_key)
                _refuse_removed(job, active=active)
                sieve = Sieve(Scope(job.dataset, job.window, limits), job.series, known, tally)
                load = Load(cursor, job.tenant_key, job.window, sieve, self._backend.before_write)
                load.begin(job.dataset)
                self._backend.before_write(cursor, ())  # what is deleted may be compressed
                load.empty(job.series, leave=whole)
                for portion in cut:
                    load.add(portion)
                result = LoadResult(load.rows, load.checksum, tally.refusals())
                _refuse_nothing_but_faults(job, result)
                _booked(cursor, job, result)
                _refuse_removed(job, active=is_active(cursor, job.tenant_key))
        except ConstraintViolatedError:
            self._note(job, tally)
            raise
        return result

    def _note(self, job: _Job, tally: Tally) -> None:
        """Book what was refused of a load that changed nothing else."""
        with self._database.transaction("book what was refused") as cursor:
            rebook_refusals(cursor, job.tenant_key, job.dataset, job.window.start, tally.refusals())

    @repeatable
    def hosts(self, tenant_id: str, window: Window) -> list[str]:
        """Return the hosts with samples in a window, sorted."""
        with self._database.transaction("list hosts") as cursor:
            return [row[0] for row in cursor.execute(QUERIES["hosts"], self._scope(tenant_id, window))]

    @repeatable
    def latest(self, tenant_id: str) -> dict[str, datetime]:
        """Return the time of the newest sample of each host."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("find the newest samples") as cursor:
            return dict(cursor.execute(QUERIES["latest"], wanted).fetchall())

    @repeatable
    def newest(self, tenant_id: str, metrics: Sequence[str], since: datetime) -> dict[str, datetime]:
        """Return the time of the newest sample of each host that delivered one of `metrics` after `since`."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "metrics": list(metrics), "since": since}
        with self._database.transaction("find live hosts") as cursor:
            return dict(cursor.execute(QUERIES["newest"], wanted).fetchall())

    @repeatable
    def span(self, tenant_id: str) -> Window | None:
        """Return the times of a tenant's first and last sample, or None if it has none."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("find the span of the samples") as cursor:
            row = cursor.execute(QUERIES["span"], wanted).fetchone()
        return None if row is None or row[0] is None else Window(row[0], row[1])

    def _scope(self, tenant_id: str, window: Window) -> dict[str, object]:
        return {"tenant_key": self._tenants.key(tenant_id), "start": window.start, "end": window.end}


def _refuse_removed(job: _Job, *, active: bool) -> None:
    if not active:
        raise StorageError(
            f"cannot {job.said}: the tenant was removed; nothing was changed. Add the tenant again, and repeat the load"
        )


def _refuse_nothing_but_faults(job: _Job, result: LoadResult) -> None:
    faults = [one for one in result.refusals if one.reason != Reason.NAN]  # nothing measured is an answer too
    if faults and not result.rows:
        first = faults[0]
        raise ConstraintViolatedError(
            f"cannot {job.said}: none of its {result.refused} samples can be stored, the window stays as it was; "
            f"{first.samples} of {first.host}/{first.collector} are {first.reason}, such as {first.example}"
        )


def _booked(cursor: Cursor, job: _Job, result: LoadResult) -> None:
    detail = {"refused": result.refused} if result.refused else None
    key, window = job.tenant_key, job.window
    book(cursor, key, job.dataset, window, run_id=job.run_id, rows=result.rows, sha256=result.sha256, detail=detail)
    rebook_refusals(cursor, key, job.dataset, window.start, result.refusals)
