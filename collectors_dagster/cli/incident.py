"""`collectors incident`: what was raised, and what a person says of it.

Exit codes: 0 done, 1 refused (one line with the remedy), 2 the command line itself is wrong.
"""

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.monitoring.wording import rarity_text
from collectors_dagster.records import Feedback, Incident, Verdict, Window

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale import Store

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

LONGEST_REASON = 500

Number = Annotated[int, typer.Argument(help="The incident's number, as `collectors incident list` shows it.")]
TenantOption = Annotated[str, typer.Option("--tenant", help="Whose.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever reads it later.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; by default the user of this machine.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list")
def list_incidents(
    *,
    tenant: TenantOption,
    days: Annotated[int, typer.Option(help="How far back.", min=1, max=400)] = 7,
    history: Annotated[bool, typer.Option("--history", help="Those of history scored afterwards, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a tenant's incidents, the newest last: how rare, like which earlier one, what people said of them."""
    from collectors_dagster.monitoring.feedback import said_of
    from collectors_dagster.monitoring.likeness import nearest_earlier

    now = SystemClock().now()
    window = Window(now - timedelta(days=days), now)
    with _store() as store:
        found = store.incidents.list(tenant, window, None if history else "stream")
        verdicts = store.feedback.list(tenant, window)
    rows = [_Row(one, nearest_earlier(one, found), said_of(one, verdicts)) for one in found]
    if as_json:
        typer.echo(json.dumps([_incident(row) for row in rows], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(_table(rows))


@app.command()
def normal(
    incident: Number, *, tenant: TenantOption, reason: Reason = "", by: By = None, as_json: AsJson = False
) -> None:
    """Say that the host is like that: it is learned, and the like of it is not raised again."""
    _say(incident, tenant, Verdict.NORMAL, reason, by, as_json=as_json)


@app.command()
def real(
    incident: Number, *, tenant: TenantOption, reason: Reason = "", by: By = None, as_json: AsJson = False
) -> None:
    """Say that it was right to tell: its minutes are never learned."""
    _say(incident, tenant, Verdict.REAL, reason, by, as_json=as_json)


@app.command()
def forget(incident: Number, *, tenant: TenantOption) -> None:
    """Take back what was said of an incident."""
    with _store() as store:
        store.feedback.forget(tenant, incident)
    typer.echo(f"nothing is said of incident {incident} any more")


def _say(incident: int, tenant: str, verdict: Verdict, reason: str, by: str | None, *, as_json: bool) -> None:
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise ConfigurationError(f"--reason must be one line of at most {LONGEST_REASON} printable characters")
    who = getpass.getuser() if by is None else by
    if not 1 <= len(who) <= 80 or not who.isprintable():
        raise ConfigurationError("--by must be 1 to 80 printable characters")
    with _store() as store:
        said = store.feedback.say(tenant, incident, verdict, reason=reason, said_by=who, said_at=SystemClock().now())
    if as_json:
        typer.echo(json.dumps(_feedback(said), indent=2))
        return
    then = {
        Verdict.NORMAL: "the like of it is not raised again on this host, and the next training learns it",
        Verdict.REAL: "no training learns it",
    }
    typer.echo(f"incident {incident} ({said.host}: {said.title}) is {verdict}: {then[verdict]}")


@contextmanager
def _store() -> Iterator["Store"]:
    from collectors_dagster.integrations.timescale import Store

    with Store(load_settings().database_conninfo("collectors"), application_name="collectors-incident") as store:
        yield store


@dataclass(frozen=True, slots=True)
class _Row:
    """An incident, the earlier one that it is like, and what people said."""

    incident: Incident
    like: Incident | None
    said: str


def _incident(row: _Row) -> dict[str, Any]:
    one = row.incident
    return {
        "id": one.id,
        "host": one.host,
        "source": one.source,
        "opened_at": one.opened_at.isoformat(),
        "resolved_at": one.resolved_at.isoformat() if one.resolved_at else None,
        "severity": one.severity.value,
        "peak_score": one.peak_score,
        "title": one.title,
        "model_version": one.model_version,
        "rarity": rarity_text(one.peak_score),
        "like": row.like.id if row.like else None,
        "said": row.said or None,
    }


def _feedback(one: Feedback) -> dict[str, Any]:
    return {
        "host": one.host,
        "opened_at": one.opened_at.isoformat(),
        "ended_at": one.ended_at.isoformat(),
        "verdict": one.verdict.value,
        "reason": one.reason,
        "said_by": one.said_by,
        "said_at": one.said_at.isoformat(),
        "title": one.title,
    }


def _table(rows: list[_Row]) -> Table:
    heads = ("incident", "host", "from", "to", "severity", "what", "how rare", "like", "people say")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        one = row.incident
        end = f"{one.resolved_at:%Y-%m-%d %H:%M}" if one.resolved_at else "open"
        what = (one.severity, one.title, rarity_text(one.peak_score), str(row.like.id) if row.like else "-")
        table.add_row(str(one.id), one.host, f"{one.opened_at:%Y-%m-%d %H:%M}", end, *what, row.said)
    return table
