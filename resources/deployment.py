"""The installation as assets and sensors see it: settings, time, tenants."""

from functools import cache
from typing import Protocol

import dagster as dg

from collectors_dagster.clock import AsyncClock, SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.tenants import TenantWatcher
from collectors_dagster.monitoring.logging import configure_logging
from collectors_dagster.tenants import TenantDirectory


class Watcher(Protocol):
    """Knows the configured tenants."""

    def current(self) -> TenantDirectory:
        """Return them as they were a moment ago."""
        ...

    def latest(self) -> TenantDirectory:
        """Return them as they are now."""
        ...


class Deployment:
    """Settings, clock and the configured tenants."""

    def __init__(self, settings: Settings, clock: AsyncClock, watcher: Watcher) -> None:
        self.settings = settings
        self.clock = clock
        self._watcher = watcher

    def directory(self) -> TenantDirectory:
        """Return the tenants as configured now (a bad file keeps its last good content)."""
        return self._watcher.current()

    def latest_directory(self) -> TenantDirectory:
        """Return the tenants without sparing a look at their files: for whoever is to follow them quickly."""
        return self._watcher.latest()


@cache
def local_deployment() -> Deployment:
    """Return this process's deployment: one watcher, so that the last good files are remembered over ticks."""
    clock = SystemClock()
    settings = load_settings()
    return Deployment(settings, clock, TenantWatcher(settings, clock))


@dg.resource(description="Settings, clock and the configured tenants.")
def deployment_resource(context: dg.InitResourceContext) -> Deployment:
    """Return the deployment of this process; there is nothing to close.

    Every step and every tick of a sensor asks for it first, so the process begins to log as ours do here.
    """
    deployment = local_deployment()
    _log_as(context.run.run_id if context.run else None, deployment)
    return deployment


@cache
def _log_as(run: str | None, deployment: Deployment) -> None:
    configure_logging("run" if run else "code-server", deployment.settings, run)
