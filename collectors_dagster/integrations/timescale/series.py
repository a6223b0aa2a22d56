"""Series and their surrogate keys: looked up once, then remembered."""

import json
from collections.abc import Sequence

from collectors_dagster.integrations.timescale.connection import Cursor, Transactions
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.samples import Labels, SeriesKey

QUERIES = load_queries("series")

LARGEST_VALUE = 1e100
"""The largest magnitude that ``core.sample`` takes: squares of it still add up."""

Identity = tuple[str, str, str, Labels]


MOST_KNOWN = 50_000
"""Keys that are remembered."""


class SeriesTable:
    """``core.series`` with a cache of its keys.

    Keys are resolved in a transaction of their own, before the data's: a key is remembered only once
    it is committed.
    """

    def __init__(self, database: Transactions) -> None:
        self._database = database
        self._known: dict[tuple[int, Identity], int] = {}

    def ids(self, tenant_key: int, series: Sequence[SeriesKey]) -> list[int]:
        """Return the keys of these series in their order, adding those that are new."""
        if len(self._known) > MOST_KNOWN:  # containers come and go, and each has series of its own
            self._known.clear()
        missing = [one for one in dict.fromkeys(series) if (tenant_key, identity(one)) not in self._known]
        if missing:
            with self._database.transaction("resolve series") as cursor:
                found = _resolved(cursor, tenant_key, missing)
            self._known.update({(tenant_key, identity(one)): key for one, key in found.items()})
        return [self._known[tenant_key, identity(one)] for one in series]

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


def _resolved(cursor: Cursor, tenant_key: int, series: list[SeriesKey]) -> dict[SeriesKey, int]:
    found = _find(cursor, tenant_key, series)
    absent = [one for one in series if one not in found]
    if absent:
        cursor.execute(QUERIES["add"], _columns(tenant_key, absent))
        found |= _find(cursor, tenant_key, absent)
    return found


def _find(cursor: Cursor, tenant_key: int, series: list[SeriesKey]) -> dict[SeriesKey, int]:
    cursor.execute(QUERIES["find"], _columns(tenant_key, series))
    return {series[position - 1]: series_id for position, series_id in cursor}


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
