"""The host's view: an Isolation Forest over all signals' deviations at once.

A signal alone may be within its habits while the combination is not. The forest sees each signal's capped deviation,
now and as means over 5 and 15 minutes; its score is calibrated on the host's own history like everything else.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest

from collectors_dagster.features.rolling import trailing_mean
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import read_forest, write_forest

TREES = 50
SAMPLES = 256
CONTEXT_MINUTES = 15
"""Rows before the first one that its windows need."""
CAP = 10.0


@dataclass(frozen=True, slots=True)
class HostForest:
    """A fitted forest; higher strangeness is more anomalous."""

    forest: IsolationForest

    @classmethod
    def fit(cls, deviations: Floats, *, seed: int) -> "HostForest":
        """Fit to the deviations of all minutes, shape (n, 14); rows without any are left out."""
        rows = windowed(deviations)[np.isfinite(deviations).any(axis=1)]
        forest = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, len(rows)), random_state=seed, n_jobs=1)
        return cls(forest.fit(rows))

    def strangeness(self, features: Floats) -> Floats:
        """Return 0..1 for rows made by :func:`windowed`."""
        return np.asarray(-self.forest.score_samples(features))

    def save(self, path: Path) -> None:
        """Write the forest."""
        write_forest(path, self.forest)

    @classmethod
    def load(cls, path: Path) -> "HostForest":
        """Read the forest; only known types are built."""
        return cls(read_forest(path))


def windowed(deviations: Floats) -> Floats:
    """Return the forest's view of each minute, shape (n, 42): now, mean of 5, mean of 15 minutes; unknown is 0."""
    capped = np.clip(deviations, -CAP, CAP)
    parts = (capped, trailing_mean(capped, 5), trailing_mean(capped, CONTEXT_MINUTES))
    return np.asarray(np.nan_to_num(np.hstack(parts), nan=0.0))


WIDTH = 3 * len(SIGNALS)
