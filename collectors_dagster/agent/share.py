"""Which of a host's series one tenant gets: those in its scope, and no more than it may have."""

from collections.abc import Sequence

from collectors_dagster.collectors.runner import Column
from collectors_dagster.logs import get_logger
from collectors_dagster.scopes import Scope

log = get_logger("delivery")

UNLIMITED = 2**31


class Share:
    """A tenant's share of the host's series.

    What was admitted stays admitted for as long as it is there; a new series takes a free place or is refused. All is
    told in series as the database has them: a gauge that is stored with its maximum is two, a counter with its
    total likewise, and gets both places or none.

    Parameters
    ----------
    max_series : int
        Delivered series at one time.

    Attributes
    ----------
    series : int
        Delivered series now.
    refused_series : int
        Series now that are in the scope, and for which there is no place.
    refused_total : int
        Series refused so far, each time that it came.
    """

    def __init__(self, scope: Scope | None = None, *, max_series: int = UNLIMITED, tenant_id: str = "") -> None:
        self._scope = scope or Scope()
        self._max_series = max_series
        self._tenant_id = tenant_id
        self._admitted: frozenset[Column] = frozenset()
        self._refused: frozenset[Column] = frozenset()
        self.series = 0
        self.refused_total = 0

    @property
    def refused_series(self) -> int:
        """See above."""
        return sum(map(_places, self._refused))

    def admit(self, columns: Sequence[Column]) -> frozenset[Column]:
        """Return those of `columns`, all that there are now, that the tenant gets."""
        covered = [column for column in columns if self._scope.covers(column.collector, column.labels)]
        known = [column for column in covered if column in self._admitted]
        new = [column for column in covered if column not in self._admitted]
        self.series = sum(map(_places, known))
        self._admitted = frozenset((*known, *(column for column in new if self._takes_place(column))))
        self._refuse(frozenset(covered) - self._admitted)
        return self._admitted

    def _takes_place(self, column: Column) -> bool:
        fits = self.series + _places(column) <= self._max_series
        self.series += _places(column) * fits
        return fits

    def _refuse(self, refused: frozenset[Column]) -> None:
        came = refused - self._refused
        self._refused = refused
        if not came:
            return
        self.refused_total += sum(map(_places, came))
        log.warning(
            "series refused; narrow the tenant's scope or raise its max_series",
            tenant=self._tenant_id,
            refused=self.refused_series,
            limit=self._max_series,
            example=_shown(min(came, key=_shown)),
        )


def _places(column: Column) -> int:
    return 2 if column.metric.has_companion else 1


def _shown(column: Column) -> str:
    """Return what may be told of a series: no value of a label, because the log is plain where the spool is not."""
    if column.metric.sensitive:
        return f"a sensitive series of {column.collector}"
    labels = ", ".join(name for name, _ in column.labels)
    return f"{column.metric.name} of one {labels}" if labels else column.metric.name
