"""Write ``docs/resilience-figures.md``: our figures beside the peers', from what the benchmarks said.

``python -m bench.resilience_page FILE.json ...`` takes what ``python -m bench.patterns --json`` and its neighbours
print; ``make bench`` does it by itself. A peer that cannot do a thing stays in its row, with what it said.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "resilience-figures.md"
BENCHES = ("patterns_breaker", "patterns_flow", "patterns_cache", "policies", "patterns")
"""Without all of these the page stays as it is."""

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("1. What a call costs that goes well", ("breaker", "retry, ", "shared breaker, ")),
    ("2. Twenty short processes call what is down", ("20 processes", "a new process")),
    ("3. Probes of a half-open circuit in 8 processes", ("rounds of 20",)),
    ("4. Limits shared by processes whose clocks are wrong", ("1000/s", "20000/s", "shared grant")),
    ("5. Redis is away", ("closed: ", "hung: ", "s until shared again", "master killed")),
    (
        "6. Caches, and calls that are cancelled",
        ("one process, 20", "8 processes", "loader killed", "hit in", "shared: ", "flights lost", "permits lost"),
    ),
    ("7. What it costs the process", ("growth per million", "background threads", "metric series")),
)
"""The goals of each part, by how their names begin. A part of which nothing was measured says so."""
INTRO = """# Resilience: figures

Written by `make bench` from what `bench.patterns_breaker`, `bench.patterns_flow`, `bench.patterns_cache`,
`bench.policies` and `bench.patterns` measured, ours and the peers in turn in the same run. Ratios travel, seconds do
not. What the patterns do stands in [resilience.md](resilience.md).
"""


def page(reports: Iterable[Mapping[str, Any]]) -> str:
    """Return the page as markdown."""
    reports = list(reports)
    goals = [goal for report in reports for goal in report["goals"]]
    peers = {name: figures for report in reports for name, figures in report["detail"].get("peers", {}).items()}
    versions = {name: version for report in reports for name, version in report["detail"].get("versions", {}).items()}
    machine = ", ".join(f"{key} {value}" for key, value in reports[0]["machine"].items()) if reports else "unknown"
    parts = [INTRO, f"Machine: {machine}.\n"]
    if versions:
        parts.append("Peers: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n")
    for title, beginnings in SECTIONS:
        parts.append(_section(title, beginnings, goals, peers))
    return "\n".join(parts)


def _section(
    title: str, beginnings: tuple[str, ...], goals: Iterable[Mapping[str, Any]], peers: Mapping[str, Mapping[str, Any]]
) -> str:
    lines = [f"## {title}", "", "| | ours | goal | kept | peers |", "|---|---|---|---|---|"]
    goals = list(goals)
    for beginning in beginnings:
        found = [goal for goal in goals if goal["name"].startswith(beginning)]
        lines += [_row(goal, peers.get(goal["name"], {})) for goal in found]
        if not found:
            lines.append(f"| {beginning.strip(': ,')} | not measured | | | |")
    return "\n".join([*lines, ""])


def _row(goal: Mapping[str, Any], peers: Mapping[str, Any]) -> str:
    sign = "≤" if goal["better"] == "lower" else "≥"
    kept = "yes" if goal["ok"] else "**no**"
    beside = "; ".join(f"{name}: {_figure(value)}" for name, value in peers.items())
    cells = goal["name"], _figure(goal["value"]), f"{sign} {_figure(goal['limit'])}", kept, beside
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _figure(value: float | str) -> str:
    """Return three digits of a number, or the words that stand in its place."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the page from files; tell where it is."""
    if len(sys.argv) != 1 + len(BENCHES):
        sys.exit(f"name a file for each of {', '.join(BENCHES)}, or let `make bench` write the page")
    PAGE.write_text(page(json.loads(Path(name).read_text()) for name in sys.argv[1:]))
    print(PAGE)


if __name__ == "__main__":
    main()
