"""Where pulls from Spotify stand: written in the transaction of each page, so that a killed pull goes on there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.strategies.spotify_datasets import Dataset

QUERIES = load_queries("spotify_pulls")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PullScope:
    """Whose data a pull fetches.

    Attributes
    ----------
    user_id : str
        Empty for what is of the tenant and of no user.
    """

    tenant_id: str
    dataset: str
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a pull goes on after a page.

    Attributes
    ----------
    position : Mapping
        JSON that only the dataset's collector understands.
    at : datetime
        Now, by the caller's clock.
    """

    scope: PullScope
    position: Document
    at: datetime


@dataclass(frozen=True, slots=True)
class PullStart:
    """Where a pull goes on; an empty position is the beginning."""

    position: Document
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class PullEnd:
    """How a pull ended that came to its end.

    Attributes
    ----------
    gap : bool
        Rows may have been lost since the pull before.
    detail : Mapping
        Figures for people.
    """

    mode: str | None = None
    gap: bool = False
    detail: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PutOff:
    """A pull that has to wait."""

    tenant_id: str
    dataset: str
    user_id: str
    until: datetime
    reason: str
    partition: str | None


@dataclass(frozen=True, slots=True)
class PullState:
    """How a dataset of one user, or of the tenant, stands."""

    dataset: str
    user_id: str
    sandbox: bool
    mode: str | None
    moved_at: datetime | None
    completed_at: datetime | None
    put_off_until: datetime | None
    put_off_reason: str | None
    put_off_partition: str | None
    unavailable: str | None
    gap_at: datetime | None
    detail: Document
    under_way: bool


class PageWriter:
    """Writes the rows of one page in its transaction."""

    def __init__(self, cursor: Cursor, scope: Document) -> None:
        self._cursor = cursor
        self._scope = scope

    def execute(self, query: bytes, rows: object = None, **values: object) -> tuple[Any, ...] | None:
        """Run a statement with the page's scope, `rows` as JSON; return the first row it gives, if it gives one."""
        wanted = {**self._scope, **values} if rows is None else {**self._scope, **values, "rows": Jsonb(rows)}
        self._cursor.execute(query, wanted)
        return self._cursor.fetchone() if self._cursor.description else None

    def changed(self, query: bytes, rows: object = None, **values: object) -> int:
        """Run a statement; return how many rows it changed."""
        self.execute(query, rows, **values)
        return self._cursor.rowcount

    def all(self, query: bytes, **values: object) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        return self._cursor.execute(query, {**self._scope, **values}).fetchall()


class SpotifyPulls:
    """``core.spotify_pull``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def begin(self, scope: PullScope, dataset: Dataset, *, keep_days: int, sandbox: bool) -> PullStart:
        """Note why the data are pulled; return where the pull goes on.

        Raises
        ------
        StorageError
            If the user is not connected (any more).
        """
        described = {
            **self._row(scope),
            "purpose": dataset.purpose,
            "keep_days": keep_days,
            "sandbox": sandbox,
        }
        with self._database.transaction("begin a pull") as cursor:
            if scope.user_id and not cursor.execute(QUERIES["connected"], self._row(scope)).rowcount:
                raise _gone(scope)
            row = cursor.execute(QUERIES["begin"], described).fetchone()
        assert row is not None
        return PullStart(*row)

    @contextmanager
    def page(self, mark: Mark) -> Iterator[PageWriter]:
        """Yield a writer whose rows are committed together with where the pull goes on.

        Raises
        ------
        StorageError
            If the pull was forgotten meanwhile, because its user disconnected: nothing is written.
        """
        scope = self._row(mark.scope)
        moved = {**scope, "position": Jsonb(dict(mark.position)), "at": mark.at}
        with self._database.transaction("store a page") as cursor:
            if not cursor.execute(QUERIES["hold"], scope).rowcount:
                raise _gone(mark.scope)
            yield PageWriter(cursor, {**scope, "at": mark.at})
            cursor.execute(QUERIES["advance"], moved)

    def complete(self, mark: Mark, end: PullEnd) -> None:
        """Book a pull that came to its end; `mark` says where the next one begins."""
        booked = {
            **self._row(mark.scope),
            "position": Jsonb(dict(mark.position)),
            "at": mark.at,
            "mode": end.mode,
            "gap": end.gap,
            "detail": Jsonb(dict(end.detail)),
        }
        self._book("complete", booked, "complete a pull")

    def put_off(self, scope: PullScope, until: datetime, reason: str, partition: str | None = None) -> None:
        """Book a pull that has to wait; its position stays."""
        waiting = {"until": until, "reason": reason, "partition": partition}
        self._book("put_off", {**self._row(scope), **waiting}, "put off a pull")

    def unavailable(self, scope: PullScope, reason: str, mode: str | None) -> None:
        """Book that the application's quota mode lacks this dataset."""
        self._book("unavailable", {**self._row(scope), "reason": reason, "mode": mode}, "book a pull")

    def states(self, tenant_id: str) -> list[PullState]:
        """Return how all datasets of a tenant stand."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("read the pulls") as cursor:
            return [PullState(*row) for row in cursor.execute(QUERIES["states"], wanted)]

    def waiting(self) -> list[PutOff]:
        """Return all pulls of active tenants that were put off, the next one first."""
        with self._database.transaction("read what waits") as cursor:
            return [PutOff(*row) for row in cursor.execute(QUERIES["waiting"])]

    def _book(self, query: str, values: Document, operation: str) -> None:
        with self._database.transaction(operation) as cursor:
            cursor.execute(QUERIES[query], values)

    def _row(self, scope: PullScope) -> dict[str, object]:
        return {
            "tenant_key": self._tenants.key(scope.tenant_id),
            "dataset": scope.dataset,
            "user_id": scope.user_id,
        }


def _gone(scope: PullScope) -> StorageError:
    return StorageError(
        f"Spotify user {scope.user_id!r} of tenant {scope.tenant_id} is not connected any more: nothing is stored for "
        f"it; connect it again with `collectors spotify connect --tenant {scope.tenant_id}`"
    )
