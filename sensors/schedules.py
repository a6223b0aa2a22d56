"""When things are computed. All times are UTC; minutes are staggered so that runs do not queue at full hours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.jobs import CHECKS_JOB, COMPRESSION_JOB, EVENT_LOG_JOB, RETENTION_JOB, TENANT_DAY_JOB, TRAINING_JOB
from assets.partitions import DAY_FORMAT
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.edition import Edition
from resources.deployment import Deployment
from sensors.ranges import planned, tenant_day_requests, tenant_requests

RUNNING = dg.DefaultScheduleStatus.RUNNING
YOUNG = timedelta(hours=60)
"""History under which a nightly training is too seldom: a detector is ready, with seasons, after two days."""


@dg.schedule(
    job=TENANT_DAY_JOB,
    cron_schedule="5 * * * *",
    default_status=RUNNING,
    description="Every hour: today, for all tenants, in batches; premium tenants first.",
)
def today_hourly(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Materialise today's partitions again, an hour longer."""
    at = _scheduled(context)
    batches = planned(deployment, context.instance)
    yield from tenant_day_requests(batches, f"{at:%Y-%m-%dT%H}", at.strftime(DAY_FORMAT))


@dg.schedule(
    job=TENANT_DAY_JOB,
    cron_schedule="15 0 * * *",
    default_status=RUNNING,
    description="Shortly after midnight: yesterday once more, whole, when late samples have arrived.",
)
def yesterday_sealed(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Materialise yesterday's partitions for the last time."""
    day = (_scheduled(context) - timedelta(days=1)).strftime(DAY_FORMAT)
    yield from tenant_day_requests(planned(deployment, context.instance), f"seal-{day}", day)


@dg.schedule(
    job=TRAINING_JOB,
    cron_schedule="30 1 * * *",
    default_status=RUNNING,
    description="Every night: the models of all tenants.",
)
def training_daily(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Train every tenant's models on what is known by now."""
    yield from tenant_requests(planned(deployment, context.instance), f"train-{_scheduled(context):%Y-%m-%d}")


@dg.schedule(
    job=TRAINING_JOB,
    cron_schedule="12 2-23 * * *",
    default_status=RUNNING,
    description="Every hour: the models of batches in which a tenant's history is younger than sixty hours.",
)
def training_hourly_when_young(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment], store: dg.ResourceParam[Store]
) -> Iterator[dg.RunRequest]:
    """Let the models of new tenants grow with their history."""
    at, known = _scheduled(context), set(store.tenants.ids())
    young = [
        batch
        for batch in planned(deployment, context.instance)
        if any(_is_young(store, tenant_id, at) for tenant_id in known.intersection(batch.tenants))
    ]
    yield from tenant_requests(young, f"train-young-{at:%Y-%m-%dT%H}")


@dg.schedule(
    job=RETENTION_JOB,
    cron_schedule="30 2 * * *",
    default_status=RUNNING,
    description="Every night: delete what is older than each tenant's retention.",
)
def retention_daily(
    context: dg.ScheduleEvaluationContext, deployment: dg.ResourceParam[Deployment]
) -> Iterator[dg.RunRequest]:
    """Apply every tenant's retention."""
    yield from tenant_requests(planned(deployment, context.instance), f"keep-{_scheduled(context):%Y-%m-%d}")


@dg.schedule(
    job=COMPRESSION_JOB,
    cron_schedule="40 */3 * * *",
    default_status=RUNNING,
    description="Every three hours, on TimescaleDB: compress chunks at rest, and cut new ones for the rate of rows.",
)
def compression_at_rest(
    context: dg.ScheduleEvaluationContext, store: dg.ResourceParam[Store]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run where there are chunks."""
    edition = store.edition()
    if edition is Edition.PLAIN:
        return dg.SkipReason("PostgreSQL without TimescaleDB has no chunks")
    return dg.RunRequest(run_key=f"compress-{_scheduled(context):%Y-%m-%dT%H}")


event_log_small = dg.ScheduleDefinition(
    name="event_log_small",
    job=EVENT_LOG_JOB,
    cron_schedule="50 */6 * * *",
    default_status=RUNNING,
    description="Every six hours: prune Dagster's own event log.",
)

checks_hourly = dg.ScheduleDefinition(
    name="checks_hourly",
    job=CHECKS_JOB,
    cron_schedule="20 * * * *",
    default_status=RUNNING,
    description="Every hour: the checks of all assets, over all tenants, whether their runs happened or not.",
)

SCHEDULES = [
    *(today_hourly, yesterday_sealed, training_daily, training_hourly_when_young),
    *(retention_daily, compression_at_rest, event_log_small, checks_hourly),
]


def _scheduled(context: dg.ScheduleEvaluationContext) -> datetime:
    return context.scheduled_execution_time.astimezone(UTC)


def _is_young(store: Store, tenant_id: str, at: datetime) -> bool:
    span = store.samples.span(tenant_id)
    return span is not None and at - YOUNG < span.start <= at
