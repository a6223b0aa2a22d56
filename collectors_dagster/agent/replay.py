"""Any window of the flight recorder, for people and programs; the agent may run or not. Only reads the spool."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO

from collectors_dagster.agent.identity import Identity, known_identity, spool_root
from collectors_dagster.agent.window import CLOSING_INTERVALS, WindowReader
from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import ConfigurationError, SpoolError
from collectors_dagster.integrations.timescale.delivery import DeliveryStore
from collectors_dagster.integrations.timescale.details import DetailBatch
from collectors_dagster.records import Window
from collectors_dagster.samples import Labels, Sample
from collectors_dagster.security.sealing import load_sealer
from collectors_dagster.tenants import SystemSource, Tenant

PIECE = timedelta(minutes=5)
"""Read, and sent, at once."""
_MINUTE = timedelta(minutes=1)
_AGO = re.compile(r"-(?P<count>\d{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show.

    Attributes
    ----------
    tenant_id : str or None
        Only the sources of this tenant; None for all that were sampled.
    metrics : sequence of str
        Only these, named as they are delivered; empty for all.
    """

    window: Window
    tenant_id: str | None = None
    metrics: Sequence[str] = ()


class Replay:
    """The recorder of this home.

    Raises
    ------
    SpoolError
        If no agent ever sampled here.
    """

    def __init__(self, settings: Settings, wanted: Wanted, clock: Clock) -> None:
        self._settings = settings
        self._wanted = wanted
        self._clock = clock
        self._identity = _identity(settings)
        self._tenant = None if wanted.tenant_id is None else _tenant(settings, wanted.tenant_id)
        self._reader = WindowReader(
            self._identity.directory,
            self._identity.host,
            sample_interval_seconds=settings.agent.sample_interval_seconds,
            sealer=load_sealer(settings.agent.spool_keys, settings.agent.spool_keys_file),
        )

    def samples(self) -> Iterator[Sample]:
        """Yield what is wanted, oldest first."""
        for piece in _pieces(self._wanted.window):
            yield from self._read(piece)

    def ship(self) -> int:
        """Deliver the whole minutes of the window to the tenant; return how many values were not there yet.

        Raises
        ------
        ConfigurationError
            If no tenant is named.
        CollectorsError
            If the database cannot be reached or refuses; what was delivered so far stays, asked again nothing doubles.
        """
        if self._tenant is None:
            raise ConfigurationError("whose data shall be delivered? name the tenant with --tenant")
        closing = CLOSING_INTERVALS * timedelta(seconds=self._settings.agent.sample_interval_seconds)
        settled = self._clock.now() - timedelta(seconds=5) - closing
        whole = Window(floor_minute(self._wanted.window.start), floor_minute(min(self._wanted.window.end, settled)))
        added = 0
        with DeliveryStore(self._settings.database_conninfo(), application_name="collectors-replay") as store:
            for piece in _pieces(whole):
                samples = list(self._read(piece))
                added += store.details.write(DetailBatch(self._identity.agent_id, self._tenant.id, samples, piece.end))
        return added

    def _read(self, window: Window) -> Iterator[Sample]:
        everything = SystemSource(collectors=tuple(self._reader.collectors(window)), detail=True)
        source = everything if self._tenant is None else self._tenant.system
        wanted, tenant_id = self._wanted.metrics, self._wanted.tenant_id or ""
        for sample in sorted(self._reader.samples(source, window, tenant_id), key=lambda one: one.ts):
            if not wanted or sample.series.metric in wanted:
                yield sample


def instant(text: str, now: datetime) -> datetime:
    """Return the time that somebody means: ISO 8601 (UTC unless it says otherwise), ``now``, or ``-15m`` for ago.

    Raises
    ------
    ConfigurationError
        If it is none of these.

    Examples
    --------
    >>> instant("-15m", datetime(2026, 1, 1, 12, tzinfo=UTC)).isoformat()
    '2026-01-01T11:45:00+00:00'
    """
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no time; write for example 2026-01-31T12:00, 2026-01-31T12:00+01:00, -15m or now"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def json_line(sample: Sample) -> str:
    """Return a sample as one line of JSON; what JSON has no number for is a string."""
    value: float | str = sample.value if abs(sample.value) < float("inf") else str(sample.value)
    content = {
        "timestamp": sample.ts.isoformat(),
        "host": sample.series.host,
        "collector": sample.series.collector,
        "metric": sample.series.metric,
        "labels": dict(sample.series.labels),
        "unit": sample.series.unit,
        "value": value,
    }
    return json.dumps(content)


CSV_HEADER = "timestamp,host,collector,metric,labels,unit,value"


def csv_line(sample: Sample) -> str:
    """Return a sample as one line of CSV, in the order of `CSV_HEADER`."""
    series = sample.series
    row = (
        sample.ts.isoformat(),
        series.host,
        series.collector,
        series.metric,
        shown_labels(series.labels),
        series.unit,
    )
    line = StringIO()
    csv.writer(line, lineterminator="").writerow((*row, repr(sample.value)))
    return line.getvalue()


def table_line(sample: Sample) -> str:
    """Return a sample for people."""
    labels = shown_labels(sample.series.labels)
    name = f"{sample.series.metric}{{{labels}}}" if labels else sample.series.metric
    return f"{sample.ts:%Y-%m-%d %H:%M:%S.%f}"[:23] + f"  {sample.value:>18.6g}  {name}"


def shown_labels(labels: Labels) -> str:
    """Return labels as text.

    Examples
    --------
    >>> shown_labels((("device", "vda"), ("mode", "user")))
    'device=vda,mode=user'
    """
    return ",".join(f"{name}={value}" for name, value in labels)


def floor_minute(at: datetime) -> datetime:
    """Return the start of the minute."""
    return at.replace(second=0, microsecond=0)


def _pieces(window: Window) -> Iterator[Window]:
    start = window.start
    while start < window.end:
        end = min(floor_minute(start) + PIECE, window.end)
        yield Window(start, end)
        start = end


def _identity(settings: Settings) -> Identity:
    root = spool_root(settings.home)
    identity = known_identity(root)
    if identity is None:
        raise SpoolError(f"no agent has sampled here: {root} holds no spool; start one with `collectors agent run`")
    return identity


def _tenant(settings: Settings, tenant_id: str) -> Tenant:
    found = {tenant.id: tenant for tenant in load_tenants(settings).tenants}
    if tenant_id not in found:
        raise ConfigurationError(f"there is no tenant {tenant_id!r}; `collectors tenant list` shows them")
    return found[tenant_id]
