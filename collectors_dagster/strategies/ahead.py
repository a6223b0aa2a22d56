"""Acting before a peak that is expected: whom to tell, and when. Pure.

The agents act on forecasts by themselves: a source is read at its fastest around an expected peak
(:mod:`collectors_dagster.strategies.sampling`).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from collectors_dagster.records import HealthReport, NoticeKind, RunFailure

LEAST_NOTICE = timedelta(minutes=20)
"""A peak that is nearer cannot be acted on any more: it will be told as it is, if it is an incident."""


def peak_notices(tenant_id: str, reports: Iterable[HealthReport], now: datetime) -> list[RunFailure]:
    """Return what to tell a tenant of the peaks that its reports expect; the same peak has the same key.

    A forecast that is made again moves a peak by minutes: the key is the hour in which the claimed span begins, and the
    ledger tells the same host again only after its quiet time.
    """
    return [
        RunFailure(
            tenant_id=tenant_id,
            key=f"peak-{report.host}-{one.claim.start:%Y%m%dT%H}",
            run_id="",
            what=report.host,
            error=f"{one.text} {one.evidence}; {100 * one.confidence:.0f} % sure",
            at=now,
            kind=NoticeKind.PEAK_EXPECTED,
        )
        for report in reports
        for one in report.recommendations
        if one.kind == "peak" and one.claim is not None and one.claim.start >= now + LEAST_NOTICE
    ]
