"""Run all benchmarks, one after the other; write ``docs/benchmarks.md`` and ``docs/resilience-figures.md``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import resilience_page

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "startup",
    "run_cost",
    "sampling",
    "processes",
    "exposition",
    "agent",
    "catch_up",
    "ingest",
    "query",
    "patterns_breaker",
    "patterns_flow",
    "policies",
    "patterns_cache",
    "patterns",
    "spotify",
)


def run(name: str) -> dict[str, Any] | None:
    """Return one benchmark's report, or nothing if it failed: the others' figures are not lost by that."""
    command = [sys.executable, "-m", f"bench.{name}", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        print(f"bench.{name} ended with {done.returncode}", file=sys.stderr)
        return None
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def table(report: dict[str, Any]) -> str:
    """Return a report as a section in markdown."""
    rows = [
        f"| {goal['name']} | {goal['value']:.4g} | {'≤' if goal['better'] == 'lower' else '≥'} {goal['limit']:.4g} "
        f"| {'yes' if goal['ok'] else '**no**'} |"
        for goal in report["goals"]
    ]
    return "\n".join([f"## {report['bench']}", "", "| goal | value | limit | kept |", "|---|---|---|---|", *rows, ""])


def main() -> int:
    """Write the pages and print where they are; return 1 if a benchmark failed."""
    measured = {name: run(name) for name in NAMES}
    reports = [report for report in measured.values() if report]
    if not reports:
        return 1
    machine = ", ".join(f"{key} {value}" for key, value in reports[0]["machine"].items())
    intro = f"# Benchmarks\n\nWritten by `make bench`. Ratios travel, seconds do not. Machine: {machine}.\n"
    failed = [f"`{name}` failed.\n" for name, report in measured.items() if report is None]
    page = ROOT / "docs" / "benchmarks.md"
    page.write_text("\n".join([intro, *failed, *(table(report) for report in reports)]))
    print(page.relative_to(ROOT))
    if all(measured[name] for name in resilience_page.BENCHES):
        resilience_page.PAGE.write_text(resilience_page.page(reports))
        print(resilience_page.PAGE.relative_to(ROOT))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
