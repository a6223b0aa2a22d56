"""What a benchmark says: goals with a value, a limit and a verdict; nothing else on standard output."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure and the limit it should keep.

    Attributes
    ----------
    better : ``lower`` or ``higher``
        On which side of `limit` the value should lie.
    """

    name: str
    value: float
    limit: float
    better: Literal["lower", "higher"] = "lower"

    @property
    def ok(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """A benchmark's whole answer."""

    bench: str
    goals: tuple[Goal, ...]
    detail: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON shape."""
        goals = [{**asdict(goal), "value": round(goal.value, 4), "ok": goal.ok} for goal in self.goals]
        return {"bench": self.bench, "machine": machine(), "goals": goals, "detail": dict(self.detail)}


def machine() -> dict[str, Any]:
    """Return what a reader needs to place the figures.

    ``load`` is that of the last minute, the benchmark's own included: above the cores, seconds and shares of a bound
    say little. ``dont_write_bytecode`` matters: without .pyc files every Python process starts three times slower.
    """
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "dont_write_bytecode": sys.dont_write_bytecode,
    }


def main(measure: Callable[[], Report], description: str | None) -> None:
    """Run `measure`; print JSON with ``--json``, a table without."""
    main_with_options(lambda _: measure(), description, lambda _: None)


def main_with_options(
    measure: Callable[[argparse.Namespace], Report],
    description: str | None,
    describe: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Do as `main` does, with the options that `describe` adds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    describe(parser)
    options = parser.parse_args()
    report = measure(options)
    if options.json:
        print(json.dumps(report.as_dict()))
        return
    for goal in report.goals:
        sign = "<=" if goal.better == "lower" else ">="
        print(f"{'ok  ' if goal.ok else 'MISS'} {goal.name}: {goal.value:.4g} {sign} {goal.limit:.4g}")
