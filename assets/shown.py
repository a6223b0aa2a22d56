"""Metadata as people read it: counts, spans, tables, pictures.

Every value lands in Dagster's event log, once per tenant, asset and run, so sizes are bounded: a table shows at
most :data:`MOST_ROWS` rows, a picture has under a thousand characters (see ``monitoring.plots``).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from collectors_dagster.records import Window

Metadata = Mapping[str, dg.MetadataValue[Any]]

MOST_ROWS = 30


def span(window: Window) -> dg.MarkdownMetadataValue:
    """Show a window of time.

    Examples
    --------
    >>> span(Window.of_day("2026-11-22")).value
    '2026-11-22 00:00 → 2026-11-23 00:00 UTC'
    """
    return dg.MetadataValue.md(f"{minute(window.start)} → {minute(window.end)} UTC")


def minute(instant: datetime) -> str:
    """Write an instant to the minute."""
    return f"{instant:%Y-%m-%d %H:%M}"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> dg.MarkdownMetadataValue:
    r"""Show rows as a markdown table, `empty` if there are none.

    Examples
    --------
    >>> print(table(["host", "rows"], [["web|1", 3]], empty="nothing").value)
    | host | rows |
    |---|---|
    | web\|1 | 3 |
    """
    if not rows:
        return dg.MetadataValue.md(empty)
    lines = [_line(columns), "|" + "---|" * len(columns), *(_line(row) for row in rows[:MOST_ROWS])]
    if len(rows) > MOST_ROWS:
        lines.append(f"\n… and {len(rows) - MOST_ROWS} more")
    return dg.MetadataValue.md("\n".join(lines))


def _line(cells: Sequence[object]) -> str:
    shown = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(shown) + " |"
