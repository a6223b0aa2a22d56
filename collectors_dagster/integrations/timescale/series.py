"""Series and their surrogate keys: looked up once, then remembered."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from collectors_dagster.integrations.timescale.connection import Cursor, Transactions
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.samples import Labels, SeriesKey

QUERIES = load_queries("series")

LARGEST_VALUE = 1e100
"""The largest magnitude that ``core.sample`` takes: squares of it still add up."""

Identity = tuple[str, str, str, Labels]


MOST_KNOWN = 50_000
"""Keys that are remembered."""


class KnownSeries(NamedTuple):
    """A series as the database has it."""

    series_id: int
    unit: str


class SeriesTable:
    """``core.series`` with a cache of its keys.

    Keys are resolved in a transaction of their own, before the data's: a key is remembered only once
    it is committed.

    Parameters
    ----------
    most_known : int
        Keys that are remembered; beyond it all are forgotten, but those that are asked for.
    """

    def __init__(self, database: Transactions, most_known: int = MOST_KNOWN) -> None:
        self._database = database
        self._most_known = most_known
        self._known: dict[tuple[int, Identity], KnownSeries] = {}

    @property
    def remembered(self) -> int:
        """How many keys are remembered now."""
        return len(self._known)

    def ids(self, tenant_key: int, series: Sequence[SeriesKey]) -> list[int]:
        """Return the keys of these series in their order, adding those that are new."""
        return [one.series_id for one in self.resolved(tenant_key, series)]

    def resolved(self, tenant_key: int, series: Sequence[SeriesKey]) -> list[KnownSeries]:
        """Return the keys and units of these series in their order, adding those that are new."""
        wanted = {one: (tenant_key, identity(one)) for one in series}
        missing = [one for one, key in wanted.items() if key not in self._known]
        found = {key: self._known[key] for key in wanted.values() if key in self._known}
        if missing:
            with self._database.transaction("resolve series") as cursor:
                added = {wanted[one]: known for one, known in _resolved(cursor, tenant_key, missing).items()}
            found |= added
            self._remember(added)
        return [found[wanted[one]] for one in series]

    def _remember(self, added: dict[tuple[int, Identity], KnownSeries]) -> None:
        if len(self._known) + len(added) > self._most_known:  # containers come and go, each with series of its own
            self._known = {}
        if len(added) <= self._most_known:
            self._known |= added

    def forget(self, tenant_key: int) -> None:
        """Look a tenant's series up again the next time: they may have been erased."""
        self._known = {known: key for known, key in self._known.items() if known[0] != tenant_key}


def identity(series: SeriesKey) -> Identity:
    """Return what makes a series itself: its unit and kind may be corrected without making a new one."""
    return series.host, series.collector, series.metric, series.labels


def labels_json(labels: Labels) -> str:
    """Return labels as the text of a JSON object."""
    return json.dumps(dict(labels))


def labels_from(document: dict[str, str]) -> Labels:
    """Return a JSON object as sorted pairs."""
    return tuple(sorted(document.items()))


def wrong_unit(series: SeriesKey, known: KnownSeries) -> bool:
    """Say whether samples come in another unit than those that are there; none given is no unit to differ."""
    return bool(series.unit and known.unit and series.unit != known.unit)


def _resolved(cursor: Cursor, tenant_key: int, series: list[SeriesKey]) -> dict[SeriesKey, KnownSeries]:
    found = _find(cursor, tenant_key, series)
    absent = [one for one in series if one not in found]
    if absent:
        cursor.execute(QUERIES["add"], _columns(tenant_key, absent))
        found |= _find(cursor, tenant_key, absent)
    return found


def _find(cursor: Cursor, tenant_key: int, series: list[SeriesKey]) -> dict[SeriesKey, KnownSeries]:
    cursor.execute(QUERIES["find"], _columns(tenant_key, series))
    return {series[position - 1]: KnownSeries(series_id, unit) for position, series_id, unit in cursor}


def _columns(tenant_key: int, series: list[SeriesKey]) -> dict[str, object]:
    return {
        "tenant_key": tenant_key,
        "hosts": [one.host for one in series],
        "collectors": [one.collector for one in series],
        "metrics": [one.metric for one in series],
        "labels": [labels_json(one.labels) for one in series],
        "units": [one.unit for one in series],
        "kinds": [one.kind.value for one in series],
    }
