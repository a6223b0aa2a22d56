"""What ``collectors agent top`` knows: a minute of values per collector, and the rates between them. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

REMEMBERED = 60
Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of a collector.

    Attributes
    ----------
    at : float
        Monotonic seconds of the agent.
    """

    at: float
    values: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Busy:
    """A series and how much of it there is now.

    Attributes
    ----------
    amount : float
        Per second for a counter.
    trend : list of float
        The last minute, oldest first.
    """

    collector: str
    metric: str
    labels: Labels
    unit: str
    amount: float
    trend: list[float]


class TopModel:
    """Takes what the agent's endpoint says, and answers with levels and rates."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self._moments: dict[str, deque[Moment]] = {}
        self._about: dict[Key, tuple[str, str, str]] = {}
        self._cpu: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def remember(self, history: dict[str, Any]) -> None:
        """Begin with the minute that the agent remembers."""
        for sweep in history["sweeps"]:
            self._add(sweep["monotonic_seconds"], sweep["series"])

    def take(self, state: dict[str, Any]) -> None:
        """Take over the present state; a collector that was not read since the last one adds nothing."""
        if self.state and self.state["pid"] != state["pid"]:
            self._forget()  # another process: other counters, another clock
        self.state = state
        self._cpu.append((state["monotonic_seconds"], state["process"]["cpu_seconds"]))
        for collector, taken in state["taken"].items():
            self._add(taken, [each for each in state["series"] if each["collector"] == collector])

    def level(self, metric: str) -> list[float]:
        """Return a gauge over time, summed over its labels."""
        moments = self._moments.get(self._collector_of(metric), ())
        sums = [[value for (name, _), value in moment.values.items() if name == metric] for moment in moments]
        return [sum(values) for values in sums if values]

    def rate(self, metric: str) -> list[float]:
        """Return a counter's increase per second over time, summed over its labels."""
        moments = list(self._moments.get(self._collector_of(metric), ()))
        return [_increase(metric, *pair) for pair in pairwise(moments)]

    def own_cpu_ratio(self) -> float | None:
        """Return how much of one core the agent takes, since the first state."""
        (begun, before), (ended, after) = self._cpu[0], self._cpu[-1]
        return (after - before) / (ended - begun) if ended > begun else None

    def series_of(self, collector: str) -> int:
        """Return how many series a collector reports."""
        return sum(each["collector"] == collector for each in self.state["series"])

    def busiest(self, *, collectors: Iterable[str] | None = None, unit: str, kind: str, most: int) -> list[Busy]:
        """Return the series of a unit with the largest amounts, largest first; without those at zero."""
        chosen = None if collectors is None else set(collectors)
        found = [
            self._busy(key, collector, unit, kind)
            for key, (collector, its_kind, its_unit) in self._about.items()
            if its_kind == kind and its_unit == unit and (chosen is None or collector in chosen)
        ]
        return sorted((each for each in found if each.amount > 0), key=lambda each: -each.amount)[:most]

    def _forget(self) -> None:
        for kept in (self._moments, self._about, self._cpu):
            kept.clear()

    def _busy(self, key: Key, collector: str, unit: str, kind: str) -> Busy:
        moments = list(self._moments.get(collector, ()))
        if kind == "gauge":
            trend = [moment.values[key] for moment in moments if key in moment.values]
            present = bool(moments) and key in moments[-1].values
        else:
            pairs = [(a, b) for a, b in pairwise(moments) if key in a.values and key in b.values]
            trend = [max(0.0, b.values[key] - a.values[key]) / (b.at - a.at) for a, b in pairs]
            present = bool(pairs) and pairs[-1][1] is moments[-1]
        return Busy(collector, *key, unit, trend[-1] if trend and present else 0.0, trend)

    def _collector_of(self, metric: str) -> str:
        return next((about[0] for (name, _), about in self._about.items() if name == metric), "")

    def _add(self, at: float, series: Iterable[dict[str, Any]]) -> None:
        found: dict[str, dict[Key, float]] = {}
        for each in series:
            key = (each["metric"], tuple(sorted(each["labels"].items())))
            self._about[key] = (each["collector"], each["kind"], each["unit"])
            if each["value"] is not None:
                found.setdefault(each["collector"], {})[key] = each["value"]
        for collector, values in found.items():
            moments = self._moments.setdefault(collector, deque(maxlen=REMEMBERED))
            if not moments or at > moments[-1].at:
                moments.append(Moment(at, values))


def _increase(metric: str, before: Moment, after: Moment) -> float:
    steps = [
        max(0.0, value - before.values[key])
        for key, value in after.values.items()
        if key[0] == metric and key in before.values
    ]
    return sum(steps) / (after.at - before.at)
