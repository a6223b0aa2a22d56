"""The champion models, followed in the background and kept on disk: MLflow may be away, scoring goes on."""

import json
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import CollectorsError, ModelError
from collectors_dagster.integrations.digests import directory_digest
from collectors_dagster.models.anomaly import TenantDetector

KIND = "anomaly"
POLL_SECONDS = 30.0
"""A moved alias is served within a minute, the download included."""
_LOOK_SECONDS = 1.0
UNTRAINED = "untrained"

log = structlog.get_logger("scorer")


class Champion(Protocol):
    """A model's files."""

    @property
    def path(self) -> Path:
        """Directory of the bundle."""
        ...

    @property
    def version(self) -> str:
        """Its version in the registry."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its files, as they were registered."""
        ...


class Registry(Protocol):
    """What is asked of the model registry."""

    def champion(self, tenant_id: str, kind: str, cache_dir: Path) -> Champion | None:
        """Return the serving model's files, or None if nothing serves."""
        ...


class Champions:
    """Each tenant's serving detector.

    Parameters
    ----------
    registry : callable
        Makes the registry when it is first needed: importing MLflow takes seconds.
    cache_dir : Path
        Where bundles lie, one directory per model and version.
    memory : Path
        File that remembers what served last, for a start without MLflow.
    """

    def __init__(self, registry: Callable[[], Registry], cache_dir: Path, memory: Path, clock: Clock) -> None:
        self._clock = clock
        self._make_registry = registry
        self._registry: Registry | None = None
        self._cache_dir = cache_dir
        self._memory = memory
        self._lock = threading.Lock()
        self._detectors: dict[str, TenantDetector] = {}
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        self.problem: str | None = None

    def detector(self, tenant_id: str) -> TenantDetector:
        """Return the tenant's detector; before its first training one that knows the physical limits."""
        with self._lock:
            self._wanted.add(tenant_id)
            return self._detectors.get(tenant_id) or TenantDetector({}, UNTRAINED)

    def follow(self, tenants: Collection[str]) -> None:
        """Follow the champions of these tenants only; those of others are let go.

        A tenant that was not followed before has at once what served it last, from disk.
        """
        with self._lock:
            new = set(tenants) - self._wanted
            self._wanted = set(tenants)
            self._detectors = {tenant_id: one for tenant_id, one in self._detectors.items() if tenant_id in tenants}
        self.restore(new)

    def restore(self, tenants: Collection[str]) -> None:
        """Load from disk what served last; what is not what was registered is left to the next refresh."""
        if not tenants:
            return
        for tenant_id, place in self._remembered().items():
            if tenant_id not in tenants:
                continue
            try:
                self._ensure_intact(tenant_id, Path(place["path"]), place["digest"])
                self._take(tenant_id, Path(place["path"]), place["version"])
            except (CollectorsError, OSError, ValueError, KeyError) as error:
                log.warning("model on disk not usable", tenant=tenant_id, reason=str(error))

    def run(self, stop: threading.Event) -> None:
        """Follow the registry until `stop` is set: twice a minute, and soon after a tenant is first asked for."""
        due = self._clock.monotonic()
        while not stop.wait(_LOOK_SECONDS):
            if self._wanted - self._asked or self._clock.monotonic() >= due:
                due = self._clock.monotonic() + POLL_SECONDS
                self.refresh()

    def refresh(self) -> None:
        """Ask the registry once for the champions of all tenants asked for so far."""
        with self._lock:
            wanted = sorted(self._wanted)
            self._asked = set(wanted)
        problems = [problem for tenant_id in wanted if (problem := self._refresh_one(tenant_id))]
        if problems and problems[0] != self.problem:
            log.warning("models cannot be refreshed; scoring goes on with those at hand", reason=problems[0])
        self.problem = problems[0] if problems else None

    def _refresh_one(self, tenant_id: str) -> str | None:
        try:
            registry = self._registry = self._registry or self._make_registry()
            champion = registry.champion(tenant_id, KIND, self._cache_dir)
            if champion is not None and champion.version != self._version(tenant_id):
                self._take(tenant_id, champion.path, champion.version)
                self._remember(tenant_id, champion)
                log.info("model taken into service", tenant=tenant_id, version=champion.version)
        except (CollectorsError, OSError, ValueError, KeyError) as error:
            return f"{tenant_id}: {error}"
        return None

    def _version(self, tenant_id: str) -> str | None:
        with self._lock:
            return self._detectors[tenant_id].version if tenant_id in self._detectors else None

    @staticmethod
    def _ensure_intact(tenant_id: str, path: Path, digest: str) -> None:
        if directory_digest(path) != digest:
            message = f"the model of {tenant_id} in {path} is not what was registered: it is fetched again from MLflow"
            raise ModelError(message)

    def _take(self, tenant_id: str, path: Path, version: str) -> None:
        loaded = TenantDetector.load(path, version)
        with self._lock:
            self._detectors[tenant_id] = loaded

    def _remembered(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        places = found.items() if isinstance(found, dict) else ()
        return {str(tenant_id): place for tenant_id, place in places if isinstance(place, dict)}

    def _remember(self, tenant_id: str, champion: Champion) -> None:
        place = {"path": str(champion.path), "version": champion.version, "digest": champion.digest}
        known = self._remembered() | {tenant_id: place}
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._memory, json.dumps(known).encode())
