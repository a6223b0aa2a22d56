"""The floor: a project with one asset that does nothing."""

import dagster as dg


@dg.asset
def nothing() -> None:
    """Do nothing."""


defs = dg.Definitions(
    assets=[nothing],
    jobs=[dg.define_asset_job("empty", selection=[nothing])],
    executor=dg.in_process_executor,
)
