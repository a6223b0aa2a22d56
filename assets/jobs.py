"""The jobs: what schedules, people and `collectors run pipeline` launch."""

import dagster as dg

from assets.chain import STAGES as TENANT_DAY_STAGES
from assets.models import STAGES as MODEL_STAGES
from assets.spotify import DAILY_STAGES as SPOTIFY_DAY_STAGES
from assets.spotify import INCREMENTAL_STAGES as SPOTIFY_STAGES


def _assets(*names: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*names).without_checks()


TENANT_DAY_JOB = dg.define_asset_job(
    "tenant_day",
    selection=_assets(*TENANT_DAY_STAGES),
    description="A day of one or many tenants, from collection to health. Hourly for today, once more after midnight.",
)
TRAINING_JOB = dg.define_asset_job(
    "training",
    selection=_assets(*MODEL_STAGES),
    description="Train, evaluate and register the models of one or many tenants. Daily.",
)
SPOTIFY_JOB = dg.define_asset_job(
    "spotify",
    selection=_assets(*SPOTIFY_STAGES),
    description="Plays and saved tracks of one or many tenants' users. Plays every twenty minutes.",
)
SPOTIFY_DAY_JOB = dg.define_asset_job(
    "spotify_day",
    selection=_assets(*SPOTIFY_DAY_STAGES),
    description="A day's snapshots of one or many tenants' users and artists at Spotify. Nightly.",
)
RETENTION_JOB = dg.define_asset_job(
    "retention",
    selection=_assets("retention"),
    description="Delete what is older than each tenant's retention. Daily.",
)
EVENT_LOG_JOB = dg.define_asset_job(
    "event_log_pruning",
    selection=_assets("event_log"),
    description="Keep Dagster's own event log small. Every six hours.",
)
COMPRESSION_JOB = dg.define_asset_job(
    "chunk_compression",
    selection=_assets("compression"),
    description="Compress chunks of samples that have come to rest. Every three hours, on TimescaleDB.",
)
CHECKS_JOB = dg.define_asset_job(
    "checks",
    selection=dg.AssetSelection.all_asset_checks(),
    description="Judge what all tenants have: freshness, completeness, schema, scores, forecasts. Hourly.",
)

JOBS = [
    *(TENANT_DAY_JOB, TRAINING_JOB, SPOTIFY_JOB, SPOTIFY_DAY_JOB),
    *(RETENTION_JOB, COMPRESSION_JOB, EVENT_LOG_JOB, CHECKS_JOB),
]
