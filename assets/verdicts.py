"""A check over all tenants: one verdict each, in one result that names who fails."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dagster as dg

from assets.shown import table
from collectors_dagster.errors import CollectorsError
from collectors_dagster.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says about one tenant.

    Attributes
    ----------
    passed : bool or None
        None: nothing to judge (no data yet, or not meant for this tenant); it does not fail the check.
    said : str
        The figures behind it.
    serious : bool
        Whether a failure is an error rather than a warning.
    """

    passed: bool | None
    said: str
    serious: bool = False


NOT_JUDGED = "nothing to judge yet"
_WORDS = {False: "FAILS", None: "not judged", True: "passes"}
"""In the order in which people want to see them."""


def judged(tenants: Iterable[Tenant], judge: Callable[[Tenant], Verdict]) -> dg.AssetCheckResult:
    """Judge every tenant; one that cannot be judged because something of ours failed counts as failed."""
    verdicts = {tenant.id: _verdict(tenant, judge) for tenant in tenants}
    failed = [tenant for tenant, verdict in verdicts.items() if verdict.passed is False]
    serious = any(verdicts[tenant].serious for tenant in failed)
    rows = [
        (tenant, word, verdict.said)
        for passed, word in _WORDS.items()
        for tenant, verdict in verdicts.items()
        if verdict.passed is passed
    ]
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
        description=f"fails for {', '.join(failed)}" if failed else f"{len(verdicts)} tenants looked at",
        metadata={
            "failing_tenants": len(failed),
            "tenants": table(("tenant", "verdict", "figures"), rows, empty="No tenant."),
        },
    )


def _verdict(tenant: Tenant, judge: Callable[[Tenant], Verdict]) -> Verdict:
    try:
        return judge(tenant)
    except CollectorsError as error:
        return Verdict(passed=False, said=str(error), serious=True)
