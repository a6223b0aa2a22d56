"""How models are trained: the same history for every kind, the registry decides who serves."""

import dagster as dg

from assets.shown import Metadata
from assets.work import TenantWork

MEMORY_DAYS = 14


def train_anomaly_model(work: TenantWork) -> Metadata:
    """Fit a detector per host and register the bundle."""
    return {}


def train_forecast_model(work: TenantWork) -> Metadata:
    """Fit a forecaster per host and signal and register the bundle."""
    return {}
