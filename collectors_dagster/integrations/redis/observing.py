"""What a process learns of its shared state: counted for metrics, and logged when it goes and when it comes back."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.metrics import UNCOUNTED
from collectors_dagster.patterns.observers import MetricsSink

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """Counted since the process began.

    Attributes
    ----------
    round_trips : int
        Steps that were answered.
    round_trip_seconds : float
        Their duration in all.
    faults : dict
        Steps that were not done, by what was wrong; ``paused``, of which the network knew nothing, is not among them.
    away : tuple of str
        What is away at present: nodes of the cluster, or one empty name for all there is.
    """

    round_trips: int = 0
    round_trip_seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    away: tuple[str, ...] = ()


class StoreLog:
    """A :class:`~collectors_dagster.patterns.guarded_store.StoreObserver` that counts, and logs what people must know.

    An outage is one line when it begins and one when it ends, however often somebody looked in between.
    """

    def __init__(self, metrics: MetricsSink = UNCOUNTED) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._round_trips = 0
        self._seconds = 0.0
        self._faults: Counter[str] = Counter()
        self._away: set[str] = set()

    def figures(self) -> StoreFigures:
        """Return what was counted so far."""
        with self._lock:
            return StoreFigures(self._round_trips, self._seconds, dict(self._faults), tuple(sorted(self._away)))

    def round_trip(self, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            self._round_trips += 1
            self._seconds += seconds
        self._metrics.observe("collectors_store_round_trip_seconds", value=seconds)

    def fault(self, kind: str) -> None:
        """Count a step that was not done."""
        with self._lock:
            self._faults[kind] += 1
        self._metrics.count("collectors_store_errors_total", kind)

    def degraded(self, domain: str, kind: str, pause_seconds: float) -> None:
        """Log that this process decides alone, once per outage."""
        with self._lock:
            known = domain in self._away
            self._away.add(domain)
        if not known:
            _log.warning("shared_state_away", node=domain or "redis", kind=kind, deciding="alone")

    def restored(self, domain: str) -> None:
        """Log that state is shared again."""
        with self._lock:
            self._away.discard(domain)
        _log.info("shared_state_back", node=domain or "redis")
