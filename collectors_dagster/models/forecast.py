"""The load forecaster: per host and signal, ten minutes to a day ahead, with intervals that hold.

An online mixture of cheap experts and a Random Forest (:mod:`collectors_dagster.models.experts`,
:mod:`collectors_dagster.models.forest_expert`, :mod:`collectors_dagster.models.mixture`). Everything but the forest is
recomputed from the history given, so that a forecast always uses the newest minute.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.timeline import EMPTY, Timeline, joined
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models import bundle
from collectors_dagster.models.cells import cells_of
from collectors_dagster.models.experts import Views
from collectors_dagster.models.forest_expert import MIN_CELLS, ForestExpert
from collectors_dagster.models.outlook import Outlook
from collectors_dagster.models.profile import state_of
from collectors_dagster.records import ForecastPoint, ModelState, Window

KIND = "forecast"
MEMORY_DAYS = 14
DEFAULT_HORIZONS: tuple[int, ...] = (10, 30, 60, 120, 180, 360, 720, 1080, 1440)
"""Minutes ahead that the daily asset stores."""


class HostForecaster:
    """Forecasts one host.

    Attributes
    ----------
    host : str
    state : ModelState
        ``learning`` intervals are assumptions, not observations; ``provisional`` ones know no season.
    """

    def __init__(self, host: str, memory: Timeline, forest: ForestExpert | None) -> None:
        self.host = host
        self.state = state_of(memory)
        self._memory = memory
        self._forest = forest

    @classmethod
    def untrained(cls, host: str) -> "HostForecaster":
        """Return the forecaster of a host nobody knows."""
        return cls(host, EMPTY, None)

    @classmethod
    def fit(cls, frames: Sequence[SignalFrame], *, seed: int, mask: Sequence[Window] = ()) -> "HostForecaster":
        """Learn from frames of one host; minutes in `mask` are left out."""
        host = frames[0].host if frames else ""
        memory = joined(frames, days=MEMORY_DAYS).without(mask)
        memory = Timeline(memory.first, bundle.as_stored(memory.values))
        cells = cells_of(memory)
        if len(cells) < MIN_CELLS:
            return cls(host, memory, None)
        return cls(host, memory, ForestExpert.fit(Views.of(cells.values), cells.number, seed=seed))

    def outlook(self, history: SignalFrame | None, issued_at: datetime | None = None) -> Outlook | None:
        """Run the mixture over memory and history up to `issued_at`; None without a single known minute."""
        timeline = self._timeline(history, issued_at)
        cells = cells_of(timeline)
        if not len(cells) or not np.isfinite(cells.values).any():
            return None
        return Outlook.of(cells, self._forest)

    def forecast(
        self,
        history: SignalFrame | None,
        issued_at: datetime,
        horizons_minutes: Sequence[int] = DEFAULT_HORIZONS,
    ) -> list[ForecastPoint]:
        """Forecast every signal this host has.

        Parameters
        ----------
        history : SignalFrame or None
            Minutes that the training did not see; what lies after `issued_at` is ignored.
        issued_at : datetime
            The present: nothing later is used.
        horizons_minutes : sequence of int
            10 to 1440; rounded to ten minutes.

        Returns
        -------
        list of ForecastPoint
            By signal, then by horizon. Signals never measured are left out.
        """
        outlook = self.outlook(history, issued_at)
        return outlook.points(self.host, issued_at, horizons_minutes) if outlook is not None else []

    def _timeline(self, history: SignalFrame | None, issued_at: datetime | None) -> Timeline:
        stored = self._memory.frame(self.host)
        whole = joined([one for one in (stored, history) if one is not None], days=MEMORY_DAYS + 1)
        if issued_at is None or not len(whole):
            return whole
        last = int(issued_at.timestamp() // 60)
        return Timeline(whole.first, whole.values[: max(last + 1 - whole.first, 0)])

    def save(self, directory: Path) -> None:
        """Write the forecaster's files into `directory`."""
        words: dict[str, Any] = {"host": self.host, "first": self._memory.first, "forests": None}
        arrays = {"memory": self._memory.values}
        if self._forest is not None:
            words["forests"] = [forest is not None for forest in self._forest.forests]
            words["first_cell"] = self._forest.first
            arrays["past"] = self._forest.past
            for number, forest in enumerate(self._forest.forests):
                if forest is not None:
                    bundle.write_forest(directory / f"forest-{number}.skops", forest)
        bundle.write_manifest(directory, "host-forecaster", words)
        bundle.write_arrays(directory / "arrays.npz", arrays)

    @classmethod
    def load(cls, directory: Path) -> "HostForecaster":
        """Read a forecaster."""
        words = bundle.read_manifest(directory, "host-forecaster")
        arrays = bundle.read_arrays(directory / "arrays.npz")
        memory = Timeline(int(words["first"]), arrays["memory"])
        return cls(str(words["host"]), memory, _forest_from(words, arrays, directory))


def _forest_from(words: Mapping[str, Any], arrays: Mapping[str, Any], directory: Path) -> ForestExpert | None:
    if words["forests"] is None:
        return None
    forests = tuple(
        bundle.read_forest(directory / f"forest-{number}.skops") if present else None
        for number, present in enumerate(words["forests"])
    )
    return ForestExpert(forests, int(words["first_cell"]), arrays["past"])


class TenantForecaster:
    """All forecasters of one tenant: the bundle that is registered."""

    def __init__(self, forecasters: Mapping[str, HostForecaster]) -> None:
        self.forecasters = dict(forecasters)

    @classmethod
    def fit(
        cls,
        frames: Mapping[str, Sequence[SignalFrame]],
        *,
        seed: int,
        mask: Mapping[str, Sequence[Window]] | None = None,
    ) -> "TenantForecaster":
        """Learn every host from its frames."""
        windows = mask or {}
        return cls(
            {
                host: HostForecaster.fit(list(own), seed=seed, mask=windows.get(host, ()))
                for host, own in sorted(frames.items())
                if own
            }
        )

    def forecaster(self, host: str) -> HostForecaster:
        """Return the host's forecaster; for an unknown host one that knows nothing but the history it is given."""
        known = self.forecasters.get(host)
        return known if known is not None else HostForecaster.untrained(host)

    def forecast(
        self,
        history: SignalFrame,
        issued_at: datetime,
        horizons_minutes: Sequence[int] = DEFAULT_HORIZONS,
    ) -> list[ForecastPoint]:
        """Forecast the host of `history`; see :meth:`HostForecaster.forecast`."""
        return self.forecaster(history.host).forecast(history, issued_at, horizons_minutes)

    def states(self) -> dict[str, ModelState]:
        """Return every host's state."""
        return {host: one.state for host, one in self.forecasters.items()}

    def save(self, directory: Path) -> None:
        """Write the bundle: a manifest and one directory per host."""
        places = {host: f"host-{number}" for number, host in enumerate(sorted(self.forecasters))}
        for host, place in places.items():
            self.forecasters[host].save(directory / place)
        bundle.write_manifest(directory, KIND, {"hosts": places, "feature_set": VERSION})

    @classmethod
    def load(cls, directory: Path) -> "TenantForecaster":
        """Read a bundle.

        Raises
        ------
        ModelError
            If the directory holds no bundle of this kind.
        """
        places = bundle.read_manifest(directory, KIND)["hosts"]
        return cls({host: HostForecaster.load(directory / place) for host, place in places.items()})
