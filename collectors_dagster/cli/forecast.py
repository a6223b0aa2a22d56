"""``collectors forecast``: the forecaster over a file of the user's own."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectors_dagster.cli.tables import MOST_SHOWN, instant, progress, refuse_taken, write_picture
from collectors_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors_dagster.frames import Floats
    from collectors_dagster.integrations.tables import MeasuredTable
    from collectors_dagster.models.grid import Grid
    from collectors_dagster.models.table_forecaster import ColumnForecast

app = typer.Typer(no_args_is_help=True)
_EDGES = (("low80", "low", 0), ("high80", "high", 0), ("low95", "low", 1), ("high95", "high", 1))
_WRITTEN = ("timestamp", "metric", "mean", "low80", "high80", "low95", "high95", "interval")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")
_DRAWN_SEASONS = 3


@dataclass(frozen=True, slots=True)
class _Series:
    """One metric of one series of the file, forecast."""

    name: str
    metric: str
    column: int
    grid: "Grid"
    said: "ColumnForecast"

    @property
    def label(self) -> str:
        return f"{self.name} {self.metric}".strip()

    @property
    def ahead(self) -> "Floats":
        """Instants of the forecast, seconds since 1970."""
        return self.grid.ahead(len(self.said.fan.mean))


@app.command("forecast")
def forecast(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a column of instants, and one of numbers per metric.")],
    *,
    horizon: Annotated[
        str | None, typer.Option("--horizon", help="Steps ahead (48), or a span (6h, 90min, 2d); default: one season.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", help="Distance of two rows (10min, 1h); default: the usual one of the file.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the forecast, CSV or Parquet.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="Column of the instants.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Column that names a row's series: each is forecast alone.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Forecast this column only; repeat for more.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the first metric and its forecast as PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the forecast as JSON.")] = False,
) -> None:
    """Forecast each column of numbers with intervals of 80 and 95 %, and say how earlier forecasts of it did."""
    from collectors_dagster.integrations.tables import read_table

    table = read_table(file, time=time, by=by, only=tuple(column or ()))
    refuse_taken(file, [by] if by else [], _WRITTEN)
    notes = table.repairs.sentences(_handling())
    asked = _Question(file, table, _span(step, "--step") if step is not None else None, horizon)
    with progress("forecasting", "metrics", len(table.names) * len(table.columns), quiet=as_json) as advance:
        series = [one for group in range(len(table.names)) for one in _forecast(asked, group, notes, advance)]
    if not series:
        raise ConfigurationError(f"{file}: nothing to forecast: no column has a number among its newest rows")
    if output is not None:
        _write(output, series, by)
    if plot is not None:
        _draw(plot, series[0])
    if as_json:
        typer.echo(json.dumps(_summary(file, table, series, notes), indent=2))
        return
    _say(series, notes)


def _handling() -> "Any":
    from collectors_dagster.integrations.tables import Handling

    return Handling("they are taken in that order", "their mean is taken", "they are left open")


def _span(text: str, option: str) -> float:
    """Return the seconds of a span such as 90min."""
    found = _SPAN.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise ConfigurationError(f"{option} {text!r} is no span of time; write 30s, 10min, 6h, 1d or 1w")
    return seconds


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every series of the file.

    Attributes
    ----------
    step : seconds, or None to take the usual one
    horizon : as written
    """

    file: Path
    table: "MeasuredTable"
    step: float | None
    horizon: str | None


def _forecast(asked: _Question, group: int, notes: list[str], advance: "Callable[[int], None]") -> Iterator[_Series]:
    from collectors_dagster.models.grid import gridded, usual_step
    from collectors_dagster.models.table_forecaster import forecast_table

    table = asked.table
    rows, name = table.in_order(group), table.names[group]
    where = f"{asked.file}: series {name!r}" if name else str(asked.file)
    step = asked.step or usual_step(table.seconds[rows])
    if step is None:
        raise ConfigurationError(f"{where}: a single instant does not tell the step; give it, such as --step 10min")
    grid = gridded(table.seconds[rows], table.numbers[rows], step)
    steps = _steps(where, asked.horizon, grid)
    notes += _grid_notes(name, grid)
    for column, said in enumerate(forecast_table(grid, steps, progress=advance)):
        one = _Series(name, table.columns[column], column, grid, said)
        if math.isnan(said.fan.mean[0]):
            notes.append(f"{one.label}: not a single number among the newest {len(grid.seconds)} steps; left out")
            continue
        if said.silent:
            notes.append(f"{one.label}: nothing in the last {said.silent} steps; forecast from what was known before")
        yield one


def _steps(where: str, asked: str | None, grid: "Grid") -> int:
    """Return the horizon in steps."""
    from collectors_dagster.models.table_forecaster import MOST_PERIODS

    most = MOST_PERIODS * grid.period
    if asked is None:
        return grid.period
    steps = int(asked) if asked.strip().isdigit() else math.ceil(_span(asked, "--horizon") / grid.step - 1e-9)
    if not 1 <= steps <= most:
        raise ConfigurationError(
            f"{where}: --horizon {asked} is {steps} steps of {grid.step:g} s; say 1 to {most} (seven seasons)"
        )
    return steps


def _grid_notes(name: str, grid: "Grid") -> list[str]:
    prefix = f"{name}: " if name else ""
    counted = (
        (grid.moved, f"rows between the steps of {grid.step:g} s: {{}}; each counts to the nearest"),
        (grid.merged, "rows that share a step with another: {}; their mean is taken"),
        (grid.empty, "steps without a row: {}; they are left open"),
        (grid.absurd, "values beyond 1e100: {}; they count as missing"),
        (grid.older, "older rows than the newest 20,160 steps: {}; they are not used"),
    )
    return [prefix + words.format(count) for count, words in counted if count]


def _columns(series: _Series) -> dict[str, "Any"]:
    from collectors_dagster.models.table_forecaster import STATES

    fan = series.said.fan
    edges = {name: getattr(fan, side)[level] for name, side, level in _EDGES}
    return {"mean": fan.mean, **edges, "interval": [STATES[int(one)] for one in series.said.state]}


def _write(output: Path, series: Sequence[_Series], by: str | None) -> None:
    import pandas as pd

    from collectors_dagster.integrations.tables import write_table

    parts = [
        pd.DataFrame(
            {
                "timestamp": pd.to_datetime((one.ahead * 1e6).round().astype("int64"), unit="us", utc=True),
                **({by: one.name} if by else {}),
                "metric": one.metric,
                **_columns(one),
            }
        )
        for one in series
    ]
    write_table(output, pd.concat(parts, ignore_index=True), {})


def _draw(plot: Path, one: _Series) -> None:
    from collectors_dagster.models.plots import forecast_fan

    past = one.grid.newest_of(one.column, _DRAWN_SEASONS * max(one.grid.period, len(one.said.fan.mean)))
    title = f"{one.label}, with 80 % and 95 % intervals"
    write_picture(plot, forecast_fan(title, past, (one.ahead, one.said.fan)))


def _number(value: float) -> float | None:
    return float(f"{value:.10g}") if math.isfinite(value) else None


def _summary(file: Path, table: "MeasuredTable", series: Sequence[_Series], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "file": str(file),
        "rows": len(table.rows),
        "series": [_described(one) for one in series],
        "repairs": list(notes),
    }


def _described(one: _Series) -> dict[str, Any]:
    columns = _columns(one)
    return {
        "series": one.name,
        "metric": one.metric,
        "step_seconds": one.grid.step,
        "season_steps": one.grid.period,
        "error_vs_season_ago": _number(one.said.error_ratio),
        "coverage80": _number(one.said.coverage[0]),
        "coverage95": _number(one.said.coverage[1]),
        "confidence": _number(one.said.confidence),
        "forecast": [
            {"timestamp": instant(at).replace(" ", "T")}
            | {name: _number(values[row]) if name != "interval" else values[row] for name, values in columns.items()}
            for row, at in enumerate(one.ahead)
        ],
    }


def _say(series: Sequence[_Series], notes: Sequence[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for one in series[:MOST_SHOWN]:
        typer.echo(f"{one.label}: {_worded(one, 0)}; {_worded(one, -1)}")
        typer.echo(f"  {_record(one)}")
    if len(series) > MOST_SHOWN:
        typer.echo(f"... and {len(series) - MOST_SHOWN} more; -o writes all")


def _worded(one: _Series, row: int) -> str:
    fan = one.said.fan
    said = f"{instant(one.ahead[row])} {fan.mean[row]:.5g}"
    if math.isnan(fan.low[0][row]):
        return f"{said} (no interval: too little was seen)"
    return f"{said} (80 %: {fan.low[0][row]:.5g} to {fan.high[0][row]:.5g})"


def _record(one: _Series) -> str:
    said = one.said
    if math.isnan(said.coverage[0]):
        return "no earlier forecast has come due often enough to say how good they are"
    kept = f"{said.coverage[0]:.0%} (80 %) and {said.coverage[1]:.0%} (95 %)"
    held = f"confidence {said.confidence:.2f}; of earlier intervals {kept} held"
    if math.isnan(said.error_ratio):
        return held
    return f'{held}; their error was {said.error_ratio:.2f} of that of "as a season ago"'
