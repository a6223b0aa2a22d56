"""What ``collectors resilience status --json`` prints."""

from dataclasses import asdict
from typing import Any

from collectors_dagster.patterns.breaker_policy import Phase
from collectors_dagster.patterns.overview import REDIS, Overview, service_counts


def as_document(found: Overview, place: str) -> dict[str, Any]:
    """Return everything as plain values; times are seconds, as seen from now."""
    return {
        "store": {
            "name": REDIS,
            "state": (Phase.OPEN if found.away else Phase.CLOSED).value,
            "place": place,
            "mode": "local" if found.away else "shared",
            "away": [{"node": node or place, "reason": reason} for node, reason in sorted(found.away.items())],
            "damaged": found.damaged,
        },
        "circuits": [
            {
                "name": circuit.name,
                "tenant": circuit.tenant,
                "state": circuit.report.phase.value,
                "retry_after_seconds": round(circuit.report.retry_after_seconds, 3),
                "window": {
                    "calls": circuit.report.calls,
                    "failures": circuit.report.failures,
                    "slow": circuit.report.slow,
                },
                "probes_in_flight": circuit.report.probes,
                "transitions": circuit.report.transitions,
                "history": [
                    {
                        "seconds_ago": round(each.seconds_ago, 3),
                        "before": each.before.value,
                        "after": each.after.value,
                        "reason": each.reason,
                    }
                    for each in circuit.report.history
                ],
            }
            for circuit in found.circuits
        ],
        "rate_limits": [asdict(each) for each in found.limiters],
        "bulkheads": [asdict(each) for each in found.bulkheads],
        "leaders": [asdict(each) for each in found.leaders],
        "shares": [asdict(each) for each in found.shares],
        "counts": service_counts(found),
    }
