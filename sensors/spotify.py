"""When Spotify is pulled, and what starts again what was put off.

Tenants that share a developer account share its quota. So a run is of one account, and Dagster runs one at a time of
each (``tag_concurrency_limits`` of ``dagster.yaml``); plays, which are lost when they are not pulled, have a place of
their own beside it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

import dagster as dg

from assets.jobs import SPOTIFY_DAY_JOB, SPOTIFY_JOB
from assets.partitions import DAY_FORMAT, TENANT
from collectors_dagster.config.spotify import quota_account
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.strategies.batches import Batch, plan_batches
from collectors_dagster.strategies.spotify_datasets import DATASETS, RECENTLY_PLAYED, SAVED_TRACKS
from collectors_dagster.tenants import Tier
from resources.deployment import Deployment
from sensors.ranges import BATCH, PRIORITY, Special, tenant_day_requests, tenant_requests

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale.spotify_pulls import PutOff

ACCOUNT = "collectors/spotify_account"
"""Tag of a run: the developer account whose quota it uses; with ``/urgent`` for plays."""
URGENT = "20"
"""Priority of what is lost when it is late."""

RUNNING = dg.DefaultScheduleStatus.RUNNING


@dataclass(frozen=True, slots=True)
class Wish:
    """Runs of one account that are wanted.

    Attributes
    ----------
    occasion : str
        Makes them happen once.
    day : str
        Of the partitions; empty for those without days.
    assets : tuple of str
        Only these of the job's; empty for all.
    urgent : bool
        Whether they have a place of their own beside the account's other runs.
    """

    account: str
    occasion: str
    day: str = ""
    assets: tuple[str, ...] = ()
    urgent: bool = False
    job: str | None = None


@dg.schedule(
    job=SPOTIFY_JOB,
    cron_schedule="7,27,47 * * * *",
    default_status=RUNNING,
    description="Every twenty minutes: the plays of all connected users.",
)
def spotify_plays(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Pull plays before Spotify forgets them."""
    at = context.scheduled_execution_time.astimezone(UTC)
    for account, batches in planned_by_account(deployment, context.instance):
        wish = Wish(account, f"plays-{at:%Y-%m-%dT%H:%M}", assets=(RECENTLY_PLAYED.asset,), urgent=True)
        yield from _requests(batches, wish)


@dg.schedule(
    job=SPOTIFY_JOB,
    cron_schedule="35 4 * * *",
    default_status=RUNNING,
    description="Every night: tracks that were saved; once a week all of them, which shows removals.",
)
def spotify_library_daily(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Pull saved tracks."""
    at = context.scheduled_execution_time.astimezone(UTC)
    for account, batches in planned_by_account(deployment, context.instance):
        yield from _requests(batches, Wish(account, f"library-{at:%Y-%m-%d}", assets=(SAVED_TRACKS.asset,)))


@dg.schedule(
    job=SPOTIFY_DAY_JOB,
    cron_schedule="25 3 * * *",
    default_status=RUNNING,
    description="Every night: profiles, followed and top artists, playlists, artists and their albums.",
)
def spotify_daily(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Take the day's snapshots."""
    at = context.scheduled_execution_time.astimezone(UTC)
    for account, batches in planned_by_account(deployment, context.instance):
        yield from _requests(batches, Wish(account, f"spotify-{at:%Y-%m-%d}", day=at.strftime(DAY_FORMAT)))


SPOTIFY_SCHEDULES = [spotify_plays, spotify_library_daily, spotify_daily]


@dg.sensor(
    name="spotify_resume",
    jobs=[SPOTIFY_JOB, SPOTIFY_DAY_JOB],
    minimum_interval_seconds=29,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts pulls again that were put off, when Spotify's pause is over.",
)
def spotify_resume_sensor(
    context: dg.SensorEvaluationContext,
    deployment: dg.ResourceParam[Deployment],
    store: dg.ResourceParam[Store],
) -> dg.SensorResult:
    """Ask for one run per account and kind of partition of what has waited long enough."""
    now = deployment.clock.now()
    waiting = store.spotify.pulls.waiting()
    due = [one for one in waiting if one.until <= now and one.partition]
    requests = [
        request
        for partition_day, group in _by_day(due)
        for request in _resumed(deployment, context.instance, partition_day, group, now)
    ]
    later = [one.until for one in waiting if one.until > now]
    said = f"{len(later)} pulls wait, the next until {min(later):%Y-%m-%d %H:%M:%S} UTC" if later else "nothing waits"
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else said)


def planned_by_account(
    deployment: Deployment, instance: dg.DagsterInstance, only: Collection[str] | None = None
) -> Iterator[tuple[str, list[Batch]]]:
    """Plan runs of tenants with a Spotify source, the accounts in their order."""
    order = instance.get_dynamic_partitions(TENANT)
    tenants = [
        tenant
        for tenant in deployment.directory().tenants
        if tenant.spotify.enabled and (only is None or tenant.id in only)
    ]
    accounts: dict[str, dict[str, Tier]] = {}
    for tenant in tenants:
        accounts.setdefault(quota_account(deployment.settings, tenant), {})[tenant.id] = tenant.tier
    for account, tiers in sorted(accounts.items()):
        yield account, plan_batches(order, tiers, deployment.settings.dagster.batch_size)


def _by_day(due: "Sequence[PutOff]") -> "Iterator[tuple[str, list[PutOff]]]":
    """Group pulls by the day of their partition; without one, those with a cursor."""

    def day(one: "PutOff") -> str:
        return (one.partition or "").partition("|")[2]

    for of, group in groupby(sorted(due, key=day), key=day):
        yield of, list(group)


def _resumed(
    deployment: Deployment, instance: dg.DagsterInstance, day: str, due: "Sequence[PutOff]", now: datetime
) -> Iterator[dg.RunRequest]:
    if day and day != now.strftime(DAY_FORMAT):
        return  # the day is over: the next night's run takes the next snapshot
    names = sorted({one.dataset for one in due})
    until = max(one.until for one in due)
    for account, batches in planned_by_account(deployment, instance, {one.tenant_id for one in due}):
        wish = Wish(
            account,
            f"resume-{until:%Y-%m-%dT%H:%M:%S}-{'-'.join(names)}",
            day=day,
            assets=tuple(DATASETS[name].asset for name in names),
            urgent=all(DATASETS[name].urgent for name in names),
            job=SPOTIFY_DAY_JOB.name if day else SPOTIFY_JOB.name,
        )
        yield from _requests(batches, wish)


def _requests(batches: Sequence[Batch], wish: Wish) -> Iterator[dg.RunRequest]:
    place = f"{wish.account}/urgent" if wish.urgent else wish.account
    occasion = f"spotify-{wish.occasion}-{wish.day}-{place}"
    for batch in batches:
        # A batch of its own: other work of the same tenants need not wait for Spotify, nor Spotify for it.
        tags = {ACCOUNT: place, BATCH: f"spotify-{place}-{batch.name}"}
        special = Special({**tags, PRIORITY: URGENT} if wish.urgent else tags, wish.job, wish.assets)
        if wish.day:
            yield from tenant_day_requests([batch], occasion, wish.day, special)
        else:
            yield from tenant_requests([batch], occasion, special)
