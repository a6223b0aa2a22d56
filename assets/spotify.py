"""Spotify: a tenant's users and their artists, day by day or by cursor. Nothing of it flows into features or models.

Two steps for eight assets. The stages of a day stand in the order of what feeds what: artists are chosen from followed
and top artists. A pull that is put off leaves its partition out; the sensor ``spotify_resume`` starts it again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.batch import Event, LeftOutError, serve_batch
from assets.catalog import declared
from assets.partitions import TENANT_DAY, TENANTS
from assets.shown import Metadata
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.strategies.spotify_datasets import DAILY, INCREMENTAL, Dataset
from resources.deployment import Deployment
from resources.spotify import Spotify

if TYPE_CHECKING:
    from collectors_dagster.collectors.spotify.runner import Puller

GROUP = "spotify"
KINDS = {"postgres", "spotify"}


@dataclass(frozen=True, slots=True)
class SpotifyTurn:
    """One tenant's turn in a run.

    Attributes
    ----------
    datasets : tuple of Dataset
        All of this run, in their order.
    """

    spotify: Spotify
    puller: "Puller"
    datasets: tuple[Dataset, ...]


def _stage(dataset: Dataset) -> Callable[[SpotifyTurn], Metadata]:
    def pull(turn: SpotifyTurn) -> Metadata:
        from assets.spotify_shown import shown
        from collectors_dagster.collectors.spotify.runner import Ending

        outcomes = turn.spotify.pull(turn.puller, dataset)
        metadata = shown(turn.puller.tenant, dataset, outcomes)
        waits = next((one for one in outcomes if one.ending is Ending.PUT_OFF), None)
        if waits:
            turn.puller.put_off_all(turn.datasets[turn.datasets.index(dataset) + 1 :], waits)
            raise LeftOutError(f"put off: {waits.said}; it goes on by itself", metadata)
        return metadata

    return pull


DAILY_STAGES = {dataset.asset: _stage(dataset) for dataset in DAILY}
INCREMENTAL_STAGES = {dataset.asset: _stage(dataset) for dataset in INCREMENTAL}

DESCRIPTIONS = {
    "spotify_recently_played": "What connected users listened to. Every twenty minutes, because Spotify remembers "
    "fifty plays: where all of them are new, a gap is possible and said.",
    "spotify_saved_tracks": "The tracks in the users' libraries: new ones daily, removed ones weekly, when all are "
    "read.",
    "spotify_profile": "Name, country and subscription of the connected accounts, as far as the quota mode tells them.",
    "spotify_followed_artists": "The artists whom users follow, with when each was met first and last.",
    "spotify_top_items": "The users' fifty top artists and tracks over four weeks, six months and a year.",
    "spotify_playlists": "The users' playlists: whole verified snapshots, and what was added, removed and moved "
    "between them. One that changes while it is read is stored as unstable with the reason, never as a mixture.",
    "spotify_artists": "A snapshot of the artists that users follow and hear: name, genres, and popularity and "
    "followers where the quota mode tells them.",
    "spotify_artist_albums": "Albums and singles of these artists, with when each was met first.",
}
DEPENDENCIES = {
    "spotify_artists": ("spotify_followed_artists", "spotify_top_items"),
    "spotify_artist_albums": ("spotify_artists",),
}


def _specs(datasets: Sequence[Dataset], partitions: dg.PartitionsDefinition[str]) -> list[dg.AssetSpec]:
    return [
        declared(
            dataset.asset,
            partitions,
            group=GROUP,
            description=f"{DESCRIPTIONS[dataset.asset]} Purpose: {dataset.purpose}",
            deps=DEPENDENCIES.get(dataset.asset, ()),
            kinds=KINDS,
        )
        for dataset in datasets
    ]


@dg.multi_asset(
    name="tenant_spotify_day",
    specs=_specs(DAILY, TENANT_DAY),
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tenant_spotify_day(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    spotify: dg.ResourceParam[Spotify],
    deployment: dg.ResourceParam[Deployment],
) -> Iterator[Event]:
    """Pull the snapshots of every tenant and day of the run."""

    def work(partition: str) -> SpotifyTurn:
        tenant_id, day = partition.split("|")
        return _turn(context, DAILY, (spotify, deployment, store), tenant_id, day)

    yield from serve_batch(context, DAILY_STAGES, work, deployment)


@dg.multi_asset(
    name="tenant_spotify",
    specs=_specs(INCREMENTAL, TENANTS),
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tenant_spotify(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    spotify: dg.ResourceParam[Spotify],
    deployment: dg.ResourceParam[Deployment],
) -> Iterator[Event]:
    """Pull what has a cursor, for every tenant of the run."""

    def work(tenant_id: str) -> SpotifyTurn:
        return _turn(context, INCREMENTAL, (spotify, deployment, store), tenant_id)

    yield from serve_batch(context, INCREMENTAL_STAGES, work, deployment)


def _turn(
    context: dg.AssetExecutionContext,
    datasets: Sequence[Dataset],
    tools: tuple[Spotify, Deployment, Store],
    tenant_id: str,
    day: str = "",
) -> SpotifyTurn:
    spotify, deployment, store = tools
    tenant, today = deployment.directory().find(tenant_id), deployment.clock.now().date()
    if not tenant.spotify.enabled:
        raise LeftOutError(f"tenant {tenant_id} has no Spotify source")
    if day and day != today.isoformat():
        raise LeftOutError("Spotify tells what is now: a snapshot of another day cannot be taken")
    partition = f"{tenant_id}|{day}" if day else tenant_id
    selected = tuple(one for one in datasets if dg.AssetKey(one.asset) in context.selected_asset_keys)
    puller = spotify.puller(deployment, store, tenant, date.fromisoformat(day) if day else today, partition)
    return SpotifyTurn(spotify, puller, selected)
