"""Advice, and what became of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata, minute, table
from assets.work import TenantDay
from collectors_dagster.records import HealthReport, Recommendation, Window

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame

LONGEST_CLAIM = timedelta(days=8)
_WORDS = {True: "came true", False: "did not", None: "cannot be told"}


def checked_advice(day: TenantDay, known: "Sequence[SignalFrame]") -> Metadata:
    """Check the advice of the past week whose claims came due on this day, and write down what became of it.

    Parameters
    ----------
    known : sequence of SignalFrame
        Each host's minutes of the week before the day and of the day.
    """
    from collectors_dagster.monitoring.recommendations import came_true

    store, tenant_id = day.tools.store, day.tenant.id
    frames = {frame.host: frame for frame in known}
    due: list[tuple[HealthReport, Recommendation]] = []
    for report in store.health.advised(tenant_id, Window(day.window.start - LONGEST_CLAIM, day.elapsed.end)):
        judged = tuple(
            replace(one, outcome=came_true(one.claim, frames[report.host]))
            if one.claim and day.window.start < one.claim.end <= day.elapsed.end and report.host in frames
            else one
            for one in report.recommendations
        )
        due += [(report, one) for one in judged if one.claim and day.window.start < one.claim.end <= day.elapsed.end]
        if judged != report.recommendations:
            store.health.write(tenant_id, [replace(report, recommendations=judged)])
    return _shown(due)


def act_ahead(day: TenantDay, reports: Sequence[HealthReport]) -> Metadata:
    """Tell the tenant of peaks that are expected, if the settings say so; the sensor of anomalies delivers it."""
    from collectors_dagster.strategies.ahead import peak_notices

    if day.is_over or not day.tools.deployment.settings.strategies.peak_alerts:
        return {}
    targets = [target.name for target in day.tenant.alerts]
    notices = peak_notices(day.tenant.id, reports, day.elapsed.end)
    new = [one for one in notices if day.tools.store.failures.record(one, targets) is not None]
    return {
        "peaks_expected": dg.MetadataValue.int(len(notices)),
        "peaks_told": dg.MetadataValue.text("; ".join(f"{one.what}: {one.error}" for one in new) or "nothing new"),
    }


def advice_text(one: Recommendation) -> str:
    """Return a recommendation in a sentence, with what it would save."""
    from collectors_dagster.monitoring.recommendations import saving_text

    more = [part for part in (saving_text(one), f"{100 * one.confidence:.0f} % sure") if part]
    return f"{one.text} ({', '.join(more)})"


def _shown(due: Sequence[tuple[HealthReport, Recommendation]]) -> Metadata:
    """Show each host's newest advice of a kind that came due, and how much of all came true."""
    told = [one.outcome for _, one in due if one.outcome is not None]
    newest: dict[tuple[str, str], tuple[HealthReport, Recommendation]] = {}
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for report, one in due:
        newest[report.host, one.kind] = (report, one)
        counts[report.host, one.kind] += 1
    return {
        "advice_came_true": dg.MetadataValue.text(f"{sum(told)} of {len(told)}" if told else "none came due"),
        "advice_due": table(
            ("host", "advice", "said at", "evidence", "it", "said so often"),
            [
                (host, kind, minute(report.ts), one.evidence, _WORDS[one.outcome], counts[host, kind])
                for (host, kind), (report, one) in sorted(newest.items())
            ],
            empty="None.",
        ),
    }
