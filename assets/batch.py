"""A run for many tenants: each is served in turn, and one that fails leaves the others stored.

Dagster marks *all* partitions of a range when an asset's result is returned, and none when its step fails. So: if
everybody was served, results are returned (their events are written in batches, and checks in the same run follow);
if somebody failed, every stage that was done is reported by itself and the step fails afterwards. Then exactly the
failed tenants' partitions show as failed. A partition that is left out is neither: an observation says why (only
where somebody else failed in the same run, Dagster shows it as failed, too; nobody is told so).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import dagster as dg
import structlog

from assets.partitions import ranges_looked_up_once
from assets.shown import Metadata, table
from assets.watched import watched
from collectors_dagster.clock import Clock
from collectors_dagster.monitoring.logging import log_context
from resources.deployment import Deployment

FAILED_PARTITIONS = "failed_partitions"
"""Metadata key of a failed step: partition -> reason, read by the failure sensor."""

_log = structlog.get_logger(__name__)

W = TypeVar("W")
Event = dg.MaterializeResult[None] | dg.AssetMaterialization | dg.AssetObservation
Stages = Mapping[str, Callable[[W], Metadata]]
"""Asset name -> its work for one partition, in the order of their dependencies."""


class LeftOutError(Exception):
    """A stage, and those after it, are not done for this partition this time, and that is no failure.

    Parameters
    ----------
    metadata
        What people should see of it.
    """

    def __init__(self, reason: str, metadata: Metadata | None = None) -> None:
        super().__init__(reason)
        self.metadata = metadata or {}


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one partition.

    Attributes
    ----------
    shown : metadata of each stage that was done
    failed_stage, reason : set if a stage failed; the stages after it were not tried
    left_out_stage, left_out : set if a stage was left out; the stages after it were not tried
    """

    partition: str
    shown: dict[str, Metadata]
    failed_stage: str | None = None
    reason: str = ""
    left_out_stage: str | None = None
    left_out: LeftOutError | None = None


def serve_batch(
    context: dg.AssetExecutionContext, stages: Stages[W], work_for: Callable[[str], W], deployment: Deployment
) -> Iterator[Event]:
    """Run the selected stages for every partition of the run.

    Parameters
    ----------
    work_for
        Makes a stage's argument of a partition key; may fail like a stage.

    Raises
    ------
    dagster.Failure
        After everything that was done is reported, if any partition failed.
    """
    selected = {name: stage for name, stage in stages.items() if dg.AssetKey(name) in context.selected_asset_keys}
    with watched(deployment, context.run.run_id) as tick:
        served = []
        for key in sorted(context.partition_keys):
            served.append(_serve(context, selected, work_for, key, deployment.clock))
            tick()
    failed = [one for one in served if one.failed_stage]
    if failed or any(one.left_out for one in served):
        yield from _materializations(served)
        yield from _observations(served, selected)
        if failed:
            raise _failure(failed, len(served))
        return
    _attach(context, served)
    for name in selected:
        yield dg.MaterializeResult(asset_key=name)


def _serve(
    context: dg.AssetExecutionContext,
    stages: Stages[W],
    work_for: Callable[[str], W],
    partition: str,
    clock: Clock,
) -> Served:
    shown: dict[str, Metadata] = {}
    stage = "configuration"
    with log_context(tenant=partition.split("|", maxsplit=1)[0], run=context.run.run_id):
        try:
            work = work_for(partition)
            for stage, act in stages.items():
                started = clock.monotonic()
                shown[stage] = {**act(work), "seconds": dg.MetadataValue.float(round(clock.monotonic() - started, 3))}
        except LeftOutError as left_out:
            _log.info("partition left out", partition=partition, stage=stage, reason=str(left_out))
            return Served(partition, shown, left_out_stage=stage, left_out=left_out)
        except Exception as error:
            context.log.exception("%s: %s failed", partition, stage)
            _log.exception("stage failed", partition=partition, stage=stage)
            return Served(partition, shown, stage, f"{type(error).__name__}: {error}")
        _log.info("partition served", partition=partition, stages=list(shown))
        return Served(partition, shown)


def _attach(context: dg.AssetExecutionContext, served: Sequence[Served]) -> None:
    with ranges_looked_up_once():
        for one in served:
            for name, metadata in one.shown.items():
                context.add_asset_metadata(metadata, asset_key=name, partition_key=one.partition)


def _materializations(served: Sequence[Served]) -> Iterator[dg.AssetMaterialization]:
    for one in served:
        for name, metadata in one.shown.items():
            yield dg.AssetMaterialization(asset_key=name, partition=one.partition, metadata=metadata)


def _observations(served: Sequence[Served], stages: Collection[str]) -> Iterator[dg.AssetObservation]:
    for one in served:
        if one.left_out and one.left_out_stage and one.left_out_stage in stages:
            said = {**one.left_out.metadata, "left_out": dg.MetadataValue.text(str(one.left_out))}
            yield dg.AssetObservation(one.left_out_stage, partition=one.partition, metadata=said)


def _failure(failed: Sequence[Served], total: int) -> dg.Failure:
    first = failed[0]
    return dg.Failure(
        description=f"{len(failed)} of {total} failed, the others are stored; {first.partition}: {first.reason}",
        metadata={
            FAILED_PARTITIONS: dg.MetadataValue.json(
                {one.partition: f"{one.failed_stage}: {one.reason}" for one in failed}
            ),
            "failures": table(
                ("partition", "stage", "reason"),
                [(one.partition, one.failed_stage, one.reason) for one in failed],
                empty="",
            ),
        },
        allow_retries=False,
    )
