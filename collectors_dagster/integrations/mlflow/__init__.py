"""The model registry on MLflow. Importing this costs seconds and 100 MB: do it where it is used, not at the top."""

from collectors_dagster.integrations.mlflow.registry import (
    CHALLENGER,
    CHAMPION,
    ChampionModel,
    Gate,
    ModelRegistry,
    PublishedModel,
    Wait,
    at_once,
    guarded_by,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "ChampionModel",
    "Gate",
    "ModelRegistry",
    "PublishedModel",
    "Wait",
    "at_once",
    "guarded_by",
]
