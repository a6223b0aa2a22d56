"""Upkeep: what is old leaves, so that a week of running stays small."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.batch import Event, serve_batch
from assets.catalog import OWNERS, declared
from assets.champions import Champions
from assets.partitions import TENANTS
from assets.recall import Recall
from assets.shown import Metadata, minute, table
from assets.work import TenantWork, Tools
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.compression import CompressionReport
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.strategies.chunks import CompressionRule
from resources.deployment import Deployment
from resources.registry import Registry

if TYPE_CHECKING:
    from collectors_dagster.integrations.orchestrator.compute_logs import ComputeLogs, RunEnd

WITHOUT_COMPRESSION = {
    Edition.PLAIN: "none: PostgreSQL alone has no compression",
    Edition.APACHE: "none: TimescaleDB has it only under its own licence",
}
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def apply_retention(work: TenantWork) -> Metadata:
    """Delete the tenant's rows older than its retention."""
    keep = work.tenant.retention
    agent_days = work.tools.deployment.settings.retention.agent_days
    report = work.tools.store.retention.apply(
        work.tenant.id, keep.raw_days, keep.hourly_days, work.now, agent_days=agent_days
    )
    spotify_rows = work.tools.store.spotify.prune(work.tenant.id, work.now)
    return {
        "rows_deleted": dg.MetadataValue.int(report.rows_deleted),
        "spotify_rows_deleted": dg.MetadataValue.int(spotify_rows),
        "partitions_dropped": dg.MetadataValue.int(report.partitions_dropped),
        "bytes_before": dg.MetadataValue.int(report.bytes_before),
        "bytes_after": dg.MetadataValue.int(report.bytes_after),
        "keeps": dg.MetadataValue.text(f"samples {keep.raw_days} days, hourly aggregates {keep.hourly_days} days"),
    }


STAGES = {"retention": apply_retention}


@dg.multi_asset(
    name="tenant_retention",
    specs=[
        declared(
            "retention",
            TENANTS,
            group="upkeep",
            description="Deletes what is older than the tenant's retention; bytes before and after.",
            kinds={"postgres"},
        )
    ],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tenant_retention(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    registry: dg.ResourceParam[Registry],
    deployment: dg.ResourceParam[Deployment],
) -> Iterator[Event]:
    """Apply the retention of every tenant of the run."""
    tools = Tools(store, registry, deployment, Recall(store), Champions(registry), context.run.run_id)
    clock = deployment.clock

    def work(tenant_id: str) -> TenantWork:
        return TenantWork(tools, deployment.directory().find(tenant_id), clock.now())

    yield from serve_batch(context, STAGES, work, deployment)


@dg.asset(
    group_name="upkeep",
    kinds={"postgres", "dagster"},
    owners=OWNERS,
    description="Dagster's own tables: narratives of ended runs and superseded events leave; the newest "
    "materialisation of every partition stays. What a run printed leaves with its narrative, and runs when their days "
    "are no partitions any more.",
)
def event_log(
    context: dg.AssetExecutionContext, deployment: dg.ResourceParam[Deployment]
) -> dg.MaterializeResult[None]:
    """Prune Dagster's event log and the output of runs."""
    from collectors_dagster.integrations.orchestrator.compute_logs import ComputeLogs
    from collectors_dagster.integrations.orchestrator.event_log import EventLog

    settings, now = deployment.settings, deployment.clock.now()
    runs = delete_old_runs(context.instance, now - timedelta(days=settings.dagster.partition_days + 7))
    with EventLog(settings.database_conninfo("dagster")) as log:
        report = log.prune(now)
    output = ComputeLogs(Path(context.instance.storage_directory()))
    output_before, outputs_deleted = output.outputs(), prune_output(context.instance, output, now)
    return dg.MaterializeResult(
        metadata={
            "runs_deleted": runs,
            **{f"{name}_deleted": rows for name, rows in report.rows.items()},
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "outputs_deleted": outputs_deleted,
            "output_bytes_before": sum(each.size_bytes for each in output_before),
            "output_bytes_after": sum(each.size_bytes for each in output.outputs()),
        }
    )


@dg.asset(
    group_name="upkeep",
    kinds={"postgres"},
    owners=OWNERS,
    description="TimescaleDB's chunks of samples and of hours: those that have come to rest are compressed, and new "
    "ones are cut for the measured rate of rows. On an edition of the database without compression it says so.",
)
def compression(store: dg.ResourceParam[Store], deployment: dg.ResourceParam[Deployment]) -> dg.MaterializeResult[None]:
    """Compress chunks; bytes before and after."""
    asked = deployment.settings.compression
    rule = CompressionRule(
        after=timedelta(hours=asked.after_hours),
        quiet=timedelta(hours=asked.quiet_hours),
        patience=timedelta(hours=asked.patience_hours),
    )
    return dg.MaterializeResult(metadata=shown_compression(store.compression.apply(rule, deployment.clock.now())))


def shown_compression(report: CompressionReport) -> Metadata:
    """Show what was compressed, and what waits for what."""
    rows = [
        (
            *(one.chunk.of, minute(one.chunk.starts_at), minute(one.chunk.ends_at)),
            *(one.said, one.chunk.bytes, one.bytes_after),
        )
        for one in reversed(report.chunks)
    ]
    return {
        "edition": dg.MetadataValue.text(report.edition.value),
        "compression": dg.MetadataValue.text(WITHOUT_COMPRESSION.get(report.edition, "by chunk, when it is at rest")),
        "chunks_compressed": dg.MetadataValue.int(len(report.compressed)),
        "bytes_before": dg.MetadataValue.int(report.bytes_before),
        "bytes_after": dg.MetadataValue.int(report.bytes_after),
        "chunk_interval": dg.MetadataValue.text(_interval(report)),
        "chunks": table(
            ("of", "from", "to", "verdict", "bytes before", "bytes after"), rows, empty="nothing to compress here"
        ),
    }


def _interval(report: CompressionReport) -> str:
    before, after = report.interval_before, report.interval_after
    if after is None:
        return "a partition is a day"
    hours = f"{after / timedelta(hours=1):g} hours"
    return hours if before == after or before is None else f"{hours}; it was {before / timedelta(hours=1):g}"


def prune_output(instance: dg.DagsterInstance, logs: "ComputeLogs", now: datetime) -> int:
    """Delete what ended runs printed, once it is old; return of how many runs."""
    from collectors_dagster.integrations.orchestrator.compute_logs import expired

    outputs = logs.outputs()  # before the runs are looked up: one that starts meanwhile is not among them
    gone = expired(outputs, _ends(instance, [each.run_id for each in outputs]), now)
    logs.remove(gone)
    return len(gone)


def _ends(instance: dg.DagsterInstance, run_ids: Sequence[str], chunk: int = 500) -> "dict[str, RunEnd]":
    from collectors_dagster.integrations.orchestrator.compute_logs import RunEnd

    found: dict[str, RunEnd] = {}
    for start in range(0, len(run_ids), chunk):
        wanted = dg.RunsFilter(run_ids=list(run_ids[start : start + chunk]))
        for record in instance.get_run_records(filters=wanted):
            run = record.dagster_run
            at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
            ended = run.status in ENDED
            found[run.run_id] = RunEnd(at if ended else None, run.status is dg.DagsterRunStatus.SUCCESS)
    return found


def delete_old_runs(instance: dg.DagsterInstance, before: datetime, most: int = 500) -> int:
    """Delete ended runs created before an instant, the oldest first; their partitions are gone already."""
    ended = dg.RunsFilter(statuses=ENDED, created_before=before)
    records = instance.get_run_records(filters=ended, limit=most, ascending=True)
    for record in records:
        instance.delete_run(record.dagster_run.run_id)
    return len(records)
