"""What ``collectors resilience status`` shows on a terminal."""

from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collectors_dagster.cli.live import redrawn
from collectors_dagster.clock import SystemClock
from collectors_dagster.patterns.circuit_breaker import BreakerReport, Phase, Transition
from collectors_dagster.patterns.overview import REDIS, SHARED, CircuitView, LimiterView, Overview, service_counts

WIDE = 100
"""Columns of a terminal from which what was counted stands beside the circuits."""
_STYLES = {
    Phase.CLOSED: "green",
    Phase.OPEN: "bold red",
    Phase.HALF_OPEN: "yellow",
    Phase.FORCED_OPEN: "bold magenta",
    Phase.DISABLED: "magenta",
    Phase.METRICS_ONLY: "magenta",
}


def watched(look: Callable[[], Overview], place: str, history: int) -> None:
    """Show it again and again, until q or Ctrl-C."""
    console = Console()
    redrawn(lambda: picture(look(), place, history, console.width), console, SystemClock())


def picture(found: Overview, place: str, history: int, width: int) -> RenderableType:
    """Return the whole picture."""
    parts: list[RenderableType] = [_store(found, place)]
    parts += [Text(), _circuits(found, wide=width >= WIDE)]
    if not found.circuits and not found.away:
        parts += [
            Text(),
            Text("No circuit yet: nothing was called under a policy since shared state is there.", style="dim"),
        ]
    parts += [Text(), _limiters(found)] if found.limiters else []
    parts += [Text(), _bulkheads(found)] if found.bulkheads else []
    parts += [Text(), _leaders(found)] if found.leaders or found.shares else []
    changes = _changes(found)[:history]
    parts += [Text(), _history(changes)] if changes else []
    return Group(*parts)


def _store(found: Overview, place: str) -> Text:
    text = Text("Shared state ", style="bold")
    if not found.away:
        text.append("shared", style="green").append(f"  {place}", style="dim")
    elif set(found.away) == {""}:
        text.append("local", style="bold red").append(f"  {place}: {found.away['']}; every process decides alone")
    else:
        text.append("partly local", style="yellow")
        text.append("  " + ", ".join(f"{node}: {reason}" for node, reason in sorted(found.away.items())))
    if found.damaged:
        text.append(f"\nSomething else lies at {', '.join(found.damaged[:3])}", style="yellow")
    return text


def _circuits(found: Overview, *, wide: bool) -> Table:
    counts = service_counts(found)
    headings = [
        "Circuit",
        "State",
        "Next probe",
        "Window",
        *(["Good", "Failed", "Rejected", "Repeated"] if wide else []),
    ]
    table = _table(*headings, right={"Next probe", "Good", "Failed", "Rejected", "Repeated"})
    state = Phase.OPEN if found.away else Phase.CLOSED
    table.add_row(REDIS, Text(state.value, style=_STYLES[state]), "", *([""] * (len(headings) - 3)))
    for circuit in found.circuits:
        report = circuit.report
        counted = counts.get(circuit.name.partition(".")[0], {})
        more = [
            str(counted.get("success", 0) + counted.get("slow", 0)),
            str(counted.get("failure", 0)),
            str(counted.get("rejected", 0)),
            str(counted.get("repeated", 0)),
        ]
        table.add_row(
            _shown(circuit.tenant, circuit.name),
            Text(report.phase.value.replace("_", " "), style=_STYLES[report.phase]),
            _next_probe(report),
            _window(circuit),
            *(more if wide else []),
        )
    return table


def _next_probe(report: BreakerReport) -> str:
    if report.phase not in {Phase.OPEN, Phase.HALF_OPEN}:
        return ""
    return _duration(report.retry_after_seconds) if report.retry_after_seconds > 0 else "now"


def _window(circuit: CircuitView) -> str:
    report = circuit.report
    words = [f"{report.failures} of {report.calls} failed"] if report.calls else ["empty"]
    words += [f"{report.slow} slow"] if report.slow else []
    words += [f"probes out: {report.probes}"] if report.probes else []
    return ", ".join(words)


def _limiters(found: Overview) -> Table:
    table = _table(
        "Rate limit",
        "Counts",
        "Per second",
        "Waits",
        "Banned",
        "Processes",
        right={"Per second", "Waits", "Banned", "Processes"},
    )
    for limiter in found.limiters:
        banned = Text(_duration(limiter.banned_seconds), style="bold red") if limiter.banned_seconds else ""
        table.add_row(
            _shown(limiter.tenant, limiter.name),
            limiter.algorithm,
            f"{limiter.requests_per_second:g}",
            _waits(limiter),
            banned,
            str(limiter.processes),
        )
    return table


def _waits(limiter: LimiterView) -> str:
    return "?" if limiter.waiting_seconds is None else _duration(limiter.waiting_seconds)


def _bulkheads(found: Overview) -> Table:
    table = _table("Bulkhead", "In use", "Limit", "Processes", right={"In use", "Limit", "Processes"})
    for each in found.bulkheads:
        full = "bold red" if each.in_use >= each.limit else ""
        table.add_row(
            _shown(each.tenant, each.name), Text(str(each.in_use), style=full), str(each.limit), str(each.processes)
        )
    return table


def _leaders(found: Overview) -> Table:
    table = _table("Role or group", "Leader or instances", "Lease", "Shares")
    for leader in found.leaders:
        holder = leader.holder or Text("nobody", style="bold red")
        lease = _duration(leader.lease_seconds) if leader.holder else ""
        table.add_row(_shown(leader.tenant, leader.role), holder, lease, "")
    for group in found.shares:
        each = ", ".join(f"{one} {list(group.owners.values()).count(one)}" for one in group.instances)
        table.add_row(group.group, ", ".join(group.instances) or Text("nobody", style="bold red"), "", each)
    return table


def _changes(found: Overview) -> list[tuple[CircuitView, Transition]]:
    """Return the changes of all circuits, the latest first."""
    every = [(circuit, change) for circuit in found.circuits for change in circuit.report.history]
    return sorted(every, key=lambda each: each[1].seconds_ago)


def _history(changes: list[tuple[CircuitView, Transition]]) -> Table:
    table = _table("Ago", "Circuit", "Change", "Reason", right={"Ago"})
    for circuit, change in changes:
        words = Text(change.before.value.replace("_", " ") + " -> ")
        words.append(change.after.value.replace("_", " "), style=_STYLES[change.after])
        table.add_row(_duration(change.seconds_ago), _shown(circuit.tenant, circuit.name), words, Text(change.reason))
    return table


def _table(*headings: str, right: frozenset[str] | set[str] = frozenset()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def _shown(tenant: str, name: str) -> Text:
    return Text(name if tenant in {"", SHARED} else f"{tenant}/{name}")


def _duration(seconds: float) -> str:
    """Return a duration for people.

    Examples
    --------
    >>> _duration(0.25), _duration(90), _duration(7300), _duration(200_000)
    ('0.2 s', '1 min 30 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
