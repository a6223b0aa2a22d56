"""Collection: the day's samples counted and judged against what should have come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata, minute, span, table
from assets.work import TenantDay
from collectors_dagster.records import ClockEvent, ClockEventKind

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale.ledger import SourceReport
    from collectors_dagster.integrations.timescale.refusals import RefusedSource

COLUMNS = ("host", "source", "received", "expected", "gap s", "late", "duplicates", "last sample")
CLOCKS = ("host", "at", "what happened", "seconds")
REFUSED = ("host", "source", "samples", "what is wrong", "for example", "came by")


def seal_collection(day: TenantDay) -> Metadata:
    """Count what arrived for the day per source and write it to the books."""
    tenant, store = day.tenant, day.tools.store
    reports = store.ledger.collection_report(tenant.id, day.elapsed, tenant.system.collection_interval_seconds)
    events = store.ledger.clock_events(tenant.id, day.elapsed)
    refused = store.ledger.refused(tenant.id, day.elapsed)
    totals = {**_totals(reports), "refused": sum(one.samples for one in refused)}
    store.ledger.record(
        tenant.id, "collection_run", day.window, day.tools.run_id, rows=totals["received"], detail=totals
    )
    return {
        "dagster/row_count": dg.MetadataValue.int(totals["received"]),
        "window": span(day.elapsed),
        "completeness": dg.MetadataValue.float(_share(totals["received"], totals["expected"])),
        **{name: dg.MetadataValue.int(value) for name, value in totals.items()},
        "sources": table(COLUMNS, [_row(one) for one in reports], empty=_nothing(day)),
        "refusals": table(REFUSED, [_refusal(one) for one in refused], empty="Everything that came could be stored."),
        "clocks": table(CLOCKS, [_event(one) for one in events], empty="No host's clock was set, and no host slept."),
    }


def _totals(reports: "Sequence[SourceReport]") -> dict[str, int]:
    names = ("expected", "received", "duplicates", "late", "gap_seconds", "bytes")
    return {name: int(sum(getattr(report, name) for report in reports)) for name in names}


def _share(received: int, expected: int) -> float:
    return round(received / expected, 4) if expected else 1.0


def _row(report: "SourceReport") -> tuple[object, ...]:
    last = minute(report.last_ts) if report.last_ts else "never"
    return (
        report.host,
        report.collector,
        report.received,
        report.expected,
        int(report.gap_seconds),
        report.late,
        report.duplicates,
        last,
    )


def _refusal(one: "RefusedSource") -> tuple[object, ...]:
    return one.host, one.collector, one.samples, one.reason, one.example, one.origin


def _event(event: ClockEvent) -> tuple[object, ...]:
    slept = "the host slept" if event.kind is ClockEventKind.SUSPEND else "the clock was set"
    return event.host, minute(event.ts), slept, round(event.seconds, 3)


def _nothing(day: TenantDay) -> str:
    if not day.tenant.system.enabled:
        return "Host performance is switched off for this tenant: nothing is expected."
    return "Nothing has arrived for this day. Is an agent running? See `collectors agent status`."
