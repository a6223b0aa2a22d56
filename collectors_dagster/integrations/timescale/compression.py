"""Upkeep of chunks: each is compressed when it has come to rest, and new ones are cut for the rate that is measured."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors_dagster.errors import ServiceTimeoutError
from collectors_dagster.integrations.timescale.backend import Backend, FoundBackend
from collectors_dagster.integrations.timescale.connection import Transactions
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.strategies.chunks import Chunk, CompressionRule, Verdict, verdict


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What became of one chunk.

    Attributes
    ----------
    said : str
        The verdict, or why it could not be carried out this time.
    bytes_after : int
        Equal to the chunk's size before if nothing was done.
    """

    chunk: Chunk
    said: str
    done: bool
    bytes_after: int


@dataclass(frozen=True, slots=True)
class CompressionReport:
    """What was done.

    Attributes
    ----------
    chunks : tuple of ChunkOutcome
        Empty on editions without compression.
    interval_before, interval_after : timedelta or None
        Time that a new chunk holds; None where partitions are days.
    bytes_before, bytes_after : int
        Size of all our tables.
    """

    edition: Edition
    chunks: tuple[ChunkOutcome, ...]
    interval_before: timedelta | None
    interval_after: timedelta | None
    bytes_before: int
    bytes_after: int

    @property
    def compressed(self) -> tuple[ChunkOutcome, ...]:
        """Those that were compressed now."""
        return tuple(outcome for outcome in self.chunks if outcome.done)


class ChunkCompression:
    """All chunks of the samples."""

    def __init__(self, database: Transactions, backend: FoundBackend) -> None:
        self._database = database
        self._backend = backend

    def apply(self, rule: CompressionRule, now: datetime) -> CompressionReport:
        """Compress what has come to rest, each chunk in a transaction of its own; doing it again does nothing.

        A chunk that others hold is left for the next time.
        """
        with self._database.transaction("look at the chunks") as cursor:
            backend = self._backend.of(cursor)
            before = backend.size(cursor)
            chunks = backend.chunks(cursor, now)
            intervals = backend.adapt_chunks(cursor, now)
        outcomes = tuple(self._serve(backend, chunk, verdict(chunk, rule, now)) for chunk in chunks)
        return CompressionReport(backend.edition, outcomes, *intervals, before, self._size(backend))

    def _serve(self, backend: Backend, chunk: Chunk, judged: Verdict) -> ChunkOutcome:
        if judged not in {Verdict.COMPRESS, Verdict.COMPRESS_AGAIN}:
            return ChunkOutcome(chunk, judged.value, done=False, bytes_after=chunk.bytes)
        try:
            with self._database.transaction("compress a chunk") as cursor:
                after = backend.compress(cursor, chunk)
        except ServiceTimeoutError as error:
            return ChunkOutcome(chunk, f"left for the next time: {error}", done=False, bytes_after=chunk.bytes)
        return ChunkOutcome(chunk, judged.value, done=True, bytes_after=after)

    def _size(self, backend: Backend) -> int:
        with self._database.transaction("measure the tables") as cursor:
            return backend.size(cursor)
