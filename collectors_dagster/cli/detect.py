"""``collectors detect``: the detector over a file of the user's own."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectors_dagster.cli.tables import MOST_SHOWN, instant, progress, refuse_taken, write_picture
from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError, InsufficientDataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors_dagster.integrations.tables import MeasuredTable
    from collectors_dagster.models.table_detector import Cause, TableScores

app = typer.Typer(no_args_is_help=True)
_ADDED = ("score", "is_anomaly", "state")
_EXPLAINED = ("cause_1", "cause_2", "cause_3")


@dataclass(frozen=True, slots=True)
class _Found:
    """One series of the file, scored."""

    name: str
    rows: "Any"
    scores: "TableScores"


@app.command("detect")
def detect(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a column of instants, and one of numbers per metric.")],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all rows with their scores.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="Column of the instants.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Column that names a row's series: each is judged alone.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Judge this column only; repeat for more.")
    ] = None,
    train_until: Annotated[
        str | None,
        typer.Option(
            "--train-until", metavar="INSTANT", help="Rows before are only learned; one model judges the rest."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0.0, max=1.0, help="Score of an anomaly; default: the setting.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: columns in the file, lines on the screen.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw values and scores as PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score every row as if it were the newest: nothing later is known to it.

    One column of numbers is one metric: an anomaly is what was never seen, told once. Several columns are one host: an
    anomaly is a span in which its metrics do not move together as they did.
    """
    from collectors_dagster.integrations.tables import read_table

    limit = threshold
    if limit is None:
        limit = load_settings().collectors.system_performance.anomaly_threshold
    table = read_table(file, time=time, by=by, only=tuple(column or ()))
    refuse_taken(file, list(table.rows.columns), (*_ADDED, *(_EXPLAINED if explain else ())))
    with progress("scoring", "rows", len(table.rows), quiet=as_json) as advance:
        found = _scored(file, table, train_until, advance)
    if output is not None:
        _write(output, table, found, limit, explain=explain)
    if plot is not None:
        _draw(plot, table, found, limit)
    summary = _summary(file, table, found, limit)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    _say(table, found, summary, limit, explain=explain)


def _scored(
    file: Path, table: "MeasuredTable", train_until: str | None, advance: "Callable[[int], None]"
) -> list[_Found]:
    from collectors_dagster.integrations.tables import instant_of
    from collectors_dagster.models.table_detector import score_table

    until = None if train_until is None else instant_of(train_until, "--train-until")
    found = []
    for number, name in enumerate(table.names):
        rows = table.in_order(number)
        seconds = table.seconds[rows]
        train_rows = 0 if until is None else int((seconds < until).sum())
        if until is not None and not 0 < train_rows < len(rows):
            side = "before" if train_rows == 0 else "from then on"
            series = f"series {name!r}: " if name else ""
            raise ConfigurationError(f"{file}: {series}there is no row {side}; --train-until {train_until} is outside")
        try:
            scores = score_table(seconds, table.numbers[rows], train_rows=train_rows, progress=advance)
        except InsufficientDataError as error:
            raise ConfigurationError(f"{file}: before --train-until {train_until}: {error}") from None
        found.append(_Found(name, rows, scores))
    return found


def _write(output: Path, table: "MeasuredTable", found: Sequence[_Found], limit: float, *, explain: bool) -> None:
    import numpy as np

    from collectors_dagster.integrations.tables import write_table
    from collectors_dagster.models.table_detector import STATES

    count = len(table.rows)
    score, state = np.zeros(count), np.zeros(count, dtype=np.int64)
    causes = {name: np.full(count, "", dtype=object) for name in _EXPLAINED}
    for one in found:
        score[one.rows], state[one.rows] = one.scores.score, one.scores.state
        for row, why in one.scores.causes.items():
            for name, cause in zip(_EXPLAINED, why, strict=False):
                causes[name][one.rows[row]] = _worded(table, cause)
    added = {"score": score, "is_anomaly": score >= limit, "state": np.array(STATES)[state]}
    write_table(output, table.rows, added | (causes if explain else {}))


def _worded(table: "MeasuredTable", cause: "Cause") -> str:
    return f"{table.columns[cause.column]} {cause.value:.6g}, usual {cause.expected:.6g} ({cause.deviation:+.1f} sd)"


def _draw(plot: Path, table: "MeasuredTable", found: Sequence[_Found], limit: float) -> None:
    from collectors_dagster.models.plots import scored_table

    one = found[0]
    picture = scored_table(table.seconds[one.rows], table.numbers[one.rows], table.columns, one.scores.score, limit)
    write_picture(plot, picture)


def _summary(file: Path, table: "MeasuredTable", found: Sequence[_Found], limit: float) -> dict[str, Any]:
    series = [
        {
            "series": one.name,
            "rows": len(one.rows),
            "anomalies": int((one.scores.score >= limit).sum()),
            "highest_score": round(float(one.scores.score.max()), 4),
        }
        for one in found
    ]
    return {
        "file": str(file),
        "rows": len(table.rows),
        "columns": list(table.columns),
        "threshold": limit,
        "anomalies": sum(int((one.scores.score >= limit).sum()) for one in found),
        "series": series,
        "repairs": table.repairs.sentences(),
    }


def _say(
    table: "MeasuredTable", found: Sequence[_Found], summary: dict[str, Any], limit: float, *, explain: bool
) -> None:
    for sentence in table.repairs.sentences():
        typer.echo(f"note: {sentence}", err=True)
    typer.echo(f"{summary['rows']} rows, {summary['anomalies']} anomalies (score {limit:g} and above)")
    lines = [line for one in found for line in _lines(table, one, limit, explain=explain)]
    typer.echo("\n".join(lines[:MOST_SHOWN])) if lines else None
    if len(lines) > MOST_SHOWN:
        typer.echo(f"... and {len(lines) - MOST_SHOWN} more; -o writes all")


def _lines(table: "MeasuredTable", one: _Found, limit: float, *, explain: bool) -> Iterator[str]:
    """Describe spans of anomalous rows by their highest."""
    import numpy as np

    hits = np.flatnonzero(one.scores.score >= limit)
    for span in np.split(hits, np.flatnonzero(np.diff(hits) > 1) + 1):
        if not len(span):
            continue
        peak = int(span[np.argmax(one.scores.score[span])])
        start, end = (instant(table.seconds[one.rows[int(row)]]) for row in (span[0], span[-1]))
        when = start if len(span) == 1 else f"{start} to {end}"
        name = f"{one.name}: " if one.name else ""
        why = "; ".join(_worded(table, cause) for cause in one.scores.causes.get(peak, ())) if explain else ""
        rarity = f"1 in {10 ** one.scores.surprise[peak]:.0f}"
        yield f"{name}{when}  score {one.scores.score[peak]:.3f} ({rarity})" + (f"  {why}" if why else "")
