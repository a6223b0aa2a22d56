"""The load forecaster: per host and signal, ten minutes to a day ahead, with intervals that hold.

An online mixture of cheap experts and a Random Forest (:mod:`collectors_dagster.models.outlook`, which files of the
user's own are forecast with too). Everything but the forest is recomputed from the history given, so that a forecast
always uses the newest minute; a history that was walked through once is asked at any of its rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.timeline import EMPTY, Timeline, joined, minutes_of
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models import bundle
from collectors_dagster.models.cells import CELL_MINUTES, DAY_CELLS, STEPS, cells_of
from collectors_dagster.models.experts import Views
from collectors_dagster.models.forest_expert import LEAST_PERIODS, ForestExpert, Ground, Trained
from collectors_dagster.models.host_outlook import HostOutlook, Trust
from collectors_dagster.models.profile import state_of
from collectors_dagster.records import ForecastPoint, ModelState, Window

KIND = "forecast"
HOST_KIND = "host-forecaster-2"
_HOST_KIND_BEFORE = "host-forecaster"
"""Its forests were files of another format: it serves without them until it is trained again."""
MEMORY_DAYS = 14
DEFAULT_HORIZONS: tuple[int, ...] = (10, 30, 60, 120, 180, 360, 720, 1080, 1440)
"""Minutes ahead that the daily asset stores."""
_MOST_SILENCE_MINUTES = 7 * 1440
"""A host that said nothing for longer is not forecast."""


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
        self._walked: tuple[Timeline, HostOutlook | None] | None = None

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
        if len(cells) < LEAST_PERIODS * DAY_CELLS:
            return cls(host, memory, None)
        views = Views.of(cells.values, DAY_CELLS, STEPS[-1])
        expert = ForestExpert.fit(Ground(views, cells.number, STEPS), seed=seed)
        return cls(host, memory, replace(expert, past=bundle.as_stored(expert.past)))

    def outlook(self, history: SignalFrame | None = None) -> HostOutlook | None:
        """Run the mixture over memory and history; None without a single known minute.

        The last walk is kept: asking again about the same minutes costs nothing.
        """
        return self._walk(self._timeline(history))

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
        found = self._at(history, issued_at)
        return found[0].points(self.host, issued_at, horizons_minutes, found[1]) if found else []

    def trust(self, history: SignalFrame | None, issued_at: datetime) -> dict[str, Trust]:
        """Return how far what :meth:`forecast` says to the same question can be trusted, by signal."""
        found = self._at(history, issued_at)
        return found[0].trust(found[1]) if found else {}

    def _at(self, history: SignalFrame | None, issued_at: datetime) -> tuple[HostOutlook, int] | None:
        """Return the outlook and its row at an instant; None where nothing was known by then."""
        whole, last = self._timeline(history), int(issued_at.timestamp() // 60)
        newest = whole.first + len(whole) - 1
        if not len(whole) or last < whole.first or last > newest + _MOST_SILENCE_MINUTES:
            return None
        if last % CELL_MINUTES and last < newest:  # within a cell: what comes later in it must not be known
            whole = Timeline(whole.first, whole.values[: last + 1 - whole.first])
        outlook = self._walk(whole.until(last))
        return (outlook, -(-last // CELL_MINUTES) - outlook.cells.first) if outlook is not None else None

    def _walk(self, timeline: Timeline) -> HostOutlook | None:
        if self._walked is None or not self._walked[0].equals(timeline):
            self._walked = (timeline, HostOutlook.of(timeline, self._forest))
        return self._walked[1]

    def _timeline(self, history: SignalFrame | None) -> Timeline:
        """Return what the training saw, incidents left out, and the history around it.

        Inside the training's span the history is not looked at: the past of a host is then the same whichever days are
        asked about, and is walked through once.
        """
        frames = [self._memory.frame(self.host)] if len(self._memory) else []
        if history is not None:
            minutes = minutes_of(history.ts)
            outside = (minutes < self._memory.first) | (minutes >= self._memory.first + len(self._memory))
            frames.append(replace(history, ts=history.ts[outside], values=history.values[outside]))
        return joined(frames, days=MEMORY_DAYS + 1)

    def save(self, directory: Path) -> None:
        """Write the forecaster's files into `directory`."""
        words: dict[str, Any] = {"host": self.host, "first": self._memory.first, "forests": None}
        arrays: dict[str, NDArray[Any]] = {"memory": self._memory.values}
        if self._forest is not None:
            words["forests"] = [forest.words() if forest is not None else None for forest in self._forest.forests]
            words["first_cell"] = self._forest.first
            arrays["past"] = self._forest.past
            for number, forest in enumerate(self._forest.forests):
                arrays |= forest.arrays(f"forest{number}") if forest is not None else {}
        bundle.write_manifest(directory, HOST_KIND, words)
        bundle.write_arrays(directory / "arrays.npz", arrays)

    @classmethod
    def load(cls, directory: Path) -> "HostForecaster":
        """Read a forecaster."""
        words = bundle.read_manifest(directory, HOST_KIND, _HOST_KIND_BEFORE)
        arrays = bundle.read_arrays(directory / "arrays.npz")
        memory = Timeline(int(words["first"]), arrays["memory"])
        return cls(str(words["host"]), memory, _forest_from(words, arrays))


def _forest_from(words: Mapping[str, Any], arrays: Mapping[str, Any]) -> ForestExpert | None:
    if words["kind"] == _HOST_KIND_BEFORE or words["forests"] is None:
        return None
    forests = tuple(
        Trained.stored(one, arrays, f"forest{number}") if one is not None else None
        for number, one in enumerate(words["forests"])
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

    def trust(self, history: SignalFrame, issued_at: datetime) -> dict[str, Trust]:
        """Return how far the forecasts of the host of `history` can be trusted; see :meth:`HostForecaster.trust`."""
        return self.forecaster(history.host).trust(history, issued_at)

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
