"""A tenant's detectors: the bundle that is registered and served."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models import bundle
from collectors_dagster.models.host_detector import MEMORY_DAYS, UNREGISTERED, HostDetector
from collectors_dagster.records import ModelState, Window

KIND = "anomaly"

__all__ = ["KIND", "MEMORY_DAYS", "UNREGISTERED", "HostDetector", "TenantDetector"]


class TenantDetector:
    """All detectors of one tenant: the bundle that is registered.

    Attributes
    ----------
    detectors : dict of HostDetector by host
    version : str
        Of the registered bundle.
    """

    def __init__(self, detectors: Mapping[str, HostDetector], version: str = UNREGISTERED) -> None:
        self.detectors = dict(detectors)
        self.version = version

    @classmethod
    def fit(
        cls,
        frames: Mapping[str, Sequence[SignalFrame]],
        *,
        seed: int,
        mask: Mapping[str, Sequence[Window]] | None = None,
        normal: Mapping[str, Sequence[Window]] | None = None,
    ) -> "TenantDetector":
        """Learn every host from its frames.

        Parameters
        ----------
        mask, normal : mapping, optional
            By host: the windows of its incidents, and those that a person called normal.
        """
        windows, accepted = mask or {}, normal or {}
        return cls(
            {
                host: HostDetector.fit(list(own), seed=seed, mask=windows.get(host, ()), normal=accepted.get(host, ()))
                for host, own in sorted(frames.items())
                if own
            }
        )

    def detector(self, host: str) -> HostDetector:
        """Return the host's detector; for an unknown host a fresh one that knows the physical limits."""
        known = self.detectors.get(host)
        return known if known is not None else HostDetector.untrained(host, self.version)

    def states(self) -> dict[str, ModelState]:
        """Return every host's state."""
        return {host: detector.state for host, detector in self.detectors.items()}

    def save(self, directory: Path) -> None:
        """Write the bundle: a manifest and one directory per host."""
        places = {host: f"host-{number}" for number, host in enumerate(sorted(self.detectors))}
        for host, place in places.items():
            self.detectors[host].save(directory / place)
        bundle.write_manifest(directory, KIND, {"hosts": places, "feature_set": VERSION})

    @classmethod
    def load(cls, directory: Path, version: str = UNREGISTERED) -> "TenantDetector":
        """Read a bundle.

        Raises
        ------
        ModelError
            If the directory holds no bundle of this kind.
        """
        places = bundle.read_manifest(directory, KIND)["hosts"]
        return cls({host: HostDetector.load(directory / place, version) for host, place in places.items()}, version)
