"""Pulling a dataset for all of a tenant's users, and booking how it ended.

What is put off keeps its state and says until when; what the quota mode lacks is no failure; a user who has to consent
again is left out and named. Anything else that goes wrong is raised: the caller isolates tenants from each other.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.spotify.catalog import PULLS
from collectors_dagster.collectors.spotify.pulling import Progress, Pulled, Pulling, unheard
from collectors_dagster.errors import (
    ConsentNeededError,
    RateLimitedError,
    SpotifyPutOffError,
    SpotifyUnavailableInModeError,
)
from collectors_dagster.integrations.timescale.spotify_pulls import PullEnd, PullScope, PullStart
from collectors_dagster.strategies.spotify_datasets import Dataset
from collectors_dagster.tenants import Tenant

if TYPE_CHECKING:
    from collectors_dagster.integrations.spotify.client import SpotifyClient
    from collectors_dagster.integrations.timescale import Store


class Opening(Protocol):
    """Opens a client for a tenant's user, or for its application."""

    def __call__(
        self, tenant: Tenant, user_id: str | None, *, urgent: bool
    ) -> AbstractAsyncContextManager["SpotifyClient"]:
        """Return a client that the caller enters; `urgent` ones go first in a shared quota."""
        ...


class Ending(StrEnum):
    """How a pull ended."""

    STORED = "stored"
    PUT_OFF = "put off"
    UNAVAILABLE = "not available in this mode"
    NEEDS_CONSENT = "needs consent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dataset of one user.

    Attributes
    ----------
    user_id : str
        Empty for what is of the tenant.
    usage : Mapping
        The client's counters: requests, 304s, cache hits, seconds waited, bans.
    until : datetime or None
        When a put-off pull may go on.
    said : str
        The reason of any ending but STORED.
    """

    dataset: str
    user_id: str
    ending: Ending
    pulled: Pulled = field(default_factory=Pulled)
    usage: Mapping[str, float] = field(default_factory=dict)
    mode: str | None = None
    until: datetime | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Puller:
    """Pulls datasets of one tenant.

    Attributes
    ----------
    partition : str or None
        Who is to be started again when a pull was put off.
    """

    tenant: Tenant
    store: "Store"
    opening: Opening
    clock: Clock
    day: date
    partition: str | None = None
    whole: bool = False
    progress: Progress = unheard

    async def pull(self, dataset: Dataset, *, only_user: str | None = None) -> list[Outcome]:
        """Pull a dataset for each connected user in turn, or once for the tenant.

        After a pull that was put off, the other users' pulls are put off unasked: they share the quota.
        """
        outcomes: list[Outcome] = []
        for user_id in await asyncio.to_thread(self._users, dataset):
            if only_user not in {None, user_id}:
                continue
            waits = next((one for one in outcomes if one.ending is Ending.PUT_OFF), None)
            if waits:
                await asyncio.to_thread(self.wait, dataset, user_id, waits)
                outcomes.append(Outcome(dataset.name, user_id, Ending.PUT_OFF, until=waits.until, said=waits.said))
            else:
                outcomes.append(await self._pull_one(dataset, user_id))
        return outcomes

    def wait(self, dataset: Dataset, user_id: str, waits: Outcome) -> None:
        """Book that a pull which was not tried waits for what another one waits for."""
        scope = PullScope(self.tenant.id, dataset.name, user_id)
        self._begin(scope, dataset)
        assert waits.until is not None
        self.store.spotify.pulls.put_off(scope, waits.until, waits.said, self.partition)

    def put_off_all(self, datasets: tuple[Dataset, ...], waits: Outcome) -> None:
        """Book that datasets that were not tried wait for what another one waits for."""
        for dataset in datasets:
            for user_id in self._users(dataset):
                self.wait(dataset, user_id, waits)

    async def _pull_one(self, dataset: Dataset, user_id: str) -> Outcome:
        scope = PullScope(self.tenant.id, dataset.name, user_id)
        start = await asyncio.to_thread(self._begin, scope, dataset)
        try:
            async with self.opening(self.tenant, user_id or None, urgent=dataset.urgent) as client:
                return await self._attempt(dataset, scope, start, client)
        except ConsentNeededError as error:
            return Outcome(dataset.name, user_id, Ending.NEEDS_CONSENT, said=str(error))

    async def _attempt(self, dataset: Dataset, scope: PullScope, start: PullStart, client: "SpotifyClient") -> Outcome:
        pulls = self.store.spotify.pulls
        work = Pulling(
            client=client,
            store=self.store.spotify,
            clock=self.clock,
            dataset=dataset,
            scope=scope,
            day=self.day,
            start=start,
            progress=self.progress,
            whole=self.whole,
            max_artists=self.tenant.spotify.max_artists,
        )
        mode: str | None = None
        try:
            if not dataset.urgent:  # what is pulled every few minutes does not ask what the mode is
                mode = (await client.capabilities()).mode
            pulled = await PULLS[dataset.name](work)
        except SpotifyPutOffError as error:
            await asyncio.to_thread(pulls.put_off, scope, error.until, error.reason, self.partition)
            return _ended(work, Ending.PUT_OFF, mode, until=error.until, said=_why(error))
        except SpotifyUnavailableInModeError as error:
            await asyncio.to_thread(pulls.unavailable, scope, str(error), mode)
            return _ended(work, Ending.UNAVAILABLE, mode, said=str(error))
        except RateLimitedError as error:  # of the accounts service, which wants no request for tokens
            if error.retry_after_seconds is None:
                raise
            until = self.clock.now() + timedelta(seconds=error.retry_after_seconds)
            await asyncio.to_thread(pulls.put_off, scope, until, "rate", self.partition)
            return _ended(work, Ending.PUT_OFF, mode, until=until, said=str(error))
        pulled = _with_left_out(pulled, work.left_out.count)
        end = PullEnd(mode, pulled.gap, {"new": pulled.new, "changed": pulled.changed, **pulled.detail})
        await asyncio.to_thread(pulls.complete, work.mark(pulled.position), end)
        return replace(_ended(work, Ending.STORED, mode), pulled=pulled)

    def _begin(self, scope: PullScope, dataset: Dataset) -> PullStart:
        keep_days = dataset.kept_days(self.tenant.spotify.keep_days)
        return self.store.spotify.pulls.begin(scope, dataset, keep_days=keep_days, sandbox=self.tenant.spotify.sandbox)

    def _users(self, dataset: Dataset) -> list[str]:
        """Return whose data are pulled: who has to consent again is tried, and says so."""
        if not dataset.per_user:
            return [""]
        return [account.user_id for account in self.store.spotify_accounts.of_tenant(self.tenant.id)]


def _with_left_out(pulled: Pulled, count: int) -> Pulled:
    """Say what could not be stored."""
    if not count:
        return pulled
    entries = "1 entry" if count == 1 else f"{count} entries"
    note = f"{entries} came empty or without an id or a time, and could not be stored"
    return replace(pulled, notes=(*pulled.notes, note), detail={**pulled.detail, "left_out": count})


def _ended(
    work: Pulling, ending: Ending, mode: str | None, *, until: datetime | None = None, said: str = ""
) -> Outcome:
    usage = work.client.usage.as_dict()
    return Outcome(work.dataset.name, work.scope.user_id, ending, usage=usage, mode=mode, until=until, said=said)


def _why(error: SpotifyPutOffError) -> str:
    reasons = {"rate": "its rate limit", "quota": "the quota of the developer account"}
    because = reasons.get(error.reason, error.reason)
    return f"Spotify asked for a pause until {error.until:%Y-%m-%d %H:%M:%S} UTC ({because})"
