"""A window of time out of a spool, at the resolution at which the host was sampled. Only reads."""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from collectors_dagster.agent.intervals import Intervals, border_records
from collectors_dagster.agent.packed import Summary
from collectors_dagster.agent.reader import Observation, read_segment
from collectors_dagster.agent.segments import Segment, list_segments, summary_of
from collectors_dagster.agent.share import Share
from collectors_dagster.records import Window
from collectors_dagster.samples import Sample
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import SystemSource

CLOSING_INTERVALS = 2
"""Sampling intervals after a window in which something must be seen for its last interval to be complete."""
_TRIES = 3


class WindowReader:
    """Reads windows of one spool, in this process or while another writes it.

    Parameters
    ----------
    directory : Path
        ``<spool>/<epoch>``.
    """

    def __init__(
        self, directory: Path, host: str, *, sample_interval_seconds: float, sealer: Sealer | None = None
    ) -> None:
        self._directory = directory
        self._host = host
        self._interval = sample_interval_seconds
        self._sealer = sealer
        self._summaries: dict[int, Summary] = {}

    def samples(self, source: SystemSource, window: Window, tenant_id: str = "") -> list[Sample]:
        """Return what a tenant's sources gave in a window: gauges as they were read, counters as rates between looks.

        Raises
        ------
        SpoolError
            If something of it is encrypted with a key that is not given.
        """
        intervals = Intervals(
            self._host,
            source.collectors,
            detail=source.detail,
            resolution_seconds=self._interval,
            sample_interval_seconds=self._interval,
            companions=False,
            share=Share(source.scope, max_series=source.max_series, tenant_id=tenant_id),
        )
        found: list[Sample] = []
        for seen in self._observations(window):
            closed = intervals.add(seen)
            if closed is not None and window.start < closed.end <= window.end:
                found += closed.samples
        return found

    def collectors(self, window: Window) -> list[str]:
        """Return the sources that were sampled in a window."""
        columns = {seen.columns for seen in self._observations(window)}
        return sorted({column.collector for each in columns for column in each})

    def _observations(self, window: Window) -> Iterator[Observation]:
        """Yield what was seen in a window and on its borders, once, oldest first."""
        interval_ns = round(self._interval * 1e9)
        from_ns = math.floor(window.start.timestamp()) * 10**9 - border_records(self._interval) * interval_ns
        to_ns = math.ceil(window.end.timestamp()) * 10**9 + CLOSING_INTERVALS * interval_ns
        last_seq = -1
        for segment in self._overlapping(from_ns, to_ns):
            for seen in self._content(segment):
                if seen.seq > last_seq and from_ns <= seen.wall_ns <= to_ns:
                    last_seq = seen.seq
                    yield seen

    def _overlapping(self, from_ns: int, to_ns: int) -> list[Segment]:
        segments = list_segments(self._directory) if self._directory.is_dir() else []
        self._summaries = {one.first_seq: known for one in segments if (known := self._summary(one)) is not None}
        summaries = self._summaries
        return [
            one
            for one in segments
            if one.first_seq in summaries
            and summaries[one.first_seq].from_ns <= to_ns
            and summaries[one.first_seq].to_ns >= from_ns
        ]

    def _summary(self, segment: Segment) -> Summary | None:
        """Return what a segment holds; what is packed does not change its time any more."""
        if segment.compressed and segment.first_seq in self._summaries:
            return self._summaries[segment.first_seq]
        with suppress(FileNotFoundError):
            return summary_of(segment)
        packed = [one for one in list_segments(self._directory) if one.first_seq == segment.first_seq]
        with suppress(FileNotFoundError):  # dropped
            return summary_of(packed[0]) if packed else None
        return None

    def _content(self, segment: Segment) -> list[Observation]:
        """Return what is in a segment, also if it is packed or thinned at this moment; nothing if it was dropped."""
        for _ in range(_TRIES):
            present = [one for one in list_segments(self._directory) if one.first_seq == segment.first_seq]
            if not present:
                return []
            with suppress(FileNotFoundError):
                return read_segment(present[0], self._sealer)
        return []
