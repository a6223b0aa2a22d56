"""Our chain's seven assets and our way of serving many tenants, with stages that do nothing."""

from collections.abc import Iterator

import dagster as dg

from assets.batch import serve_batch
from assets.chain import SPECS, STAGES
from assets.shown import Metadata, table
from resources.deployment import local_deployment


def idle(partition: str) -> Metadata:
    """Return metadata of the usual size."""
    rows = [(f"host-{number}", "cpu", 360, 360) for number in range(6)]
    return {
        "dagster/row_count": dg.MetadataValue.int(len(partition)),
        "sources": table(("host", "source", "received", "expected"), rows, empty=""),
    }


@dg.multi_asset(name="chain", specs=SPECS, can_subset=True, backfill_policy=dg.BackfillPolicy.single_run())
def chain(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetMaterialization | dg.AssetObservation]:
    """Serve every tenant of the run with nothing."""
    yield from serve_batch(context, dict.fromkeys(STAGES, idle), str, local_deployment())


defs = dg.Definitions(
    assets=[chain],
    jobs=[dg.define_asset_job("batch", selection=dg.AssetSelection.assets(*STAGES))],
    executor=dg.in_process_executor,
)
