"""Checks of Spotify's assets: pulled in time, without gaps, whole."""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg

from assets.verdicts import NOT_JUDGED, Verdict, judged
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.strategies.spotify_datasets import DATASETS, RECENTLY_PLAYED, Dataset
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment

MISSED = 3
"""Pulls that may be missed before data count as stale: three polls of plays are an hour."""
LEEWAY = timedelta(minutes=15)
LOOKED_BACK = timedelta(days=1)

Rule = Callable[[Store, Deployment, Tenant], Verdict]


def _check(dataset: Dataset, name: str, description: str, rule: Rule) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=dataset.asset, name=name, description=description)
    def check(store: dg.ResourceParam[Store], deployment: dg.ResourceParam[Deployment]) -> dg.AssetCheckResult:
        tenants = [tenant for tenant in deployment.directory().tenants if tenant.spotify.enabled]
        return judged(tenants, lambda tenant: rule(store, deployment, tenant))

    return check


def fresh(dataset: Dataset) -> Rule:
    """Return the rule that every user's last whole pull is young enough."""
    allowed = (
        timedelta(minutes=MISSED * dataset.every_minutes if dataset.urgent else 2 * dataset.every_minutes) + LEEWAY
    )

    def judge(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
        now = deployment.clock.now()
        states = [state for state in store.spotify.pulls.states(tenant.id) if state.dataset == dataset.name]
        judged_ones = [state for state in states if not state.unavailable]
        if not judged_ones:
            said = "not available in this mode" if states else NOT_JUDGED
            return Verdict(None, said)
        old = [one for one in judged_ones if one.completed_at is None or now - one.completed_at > allowed]
        waiting = [one for one in old if one.put_off_until]
        said = ", ".join(
            f"{one.user_id or 'tenant'}: {one.completed_at:%Y-%m-%d %H:%M}"
            if one.completed_at
            else f"{one.user_id}: never"
            for one in judged_ones
        )
        said += "".join(
            f"; {one.user_id or 'tenant'} is put off until {one.put_off_until:%H:%M} UTC" for one in waiting
        )
        return Verdict(not old, said, serious=dataset.urgent)

    return judge


def gapless(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge whether plays may have been lost in the last day."""
    since = deployment.clock.now() - LOOKED_BACK
    states = [state for state in store.spotify.pulls.states(tenant.id) if state.dataset == RECENTLY_PLAYED.name]
    gaps = [state for state in states if state.gap_at and state.gap_at >= since]
    said = ", ".join(f"{state.user_id}: all plays were new at {state.gap_at:%Y-%m-%d %H:%M}" for state in gaps)
    return Verdict(not gaps if states else None, said or (NOT_JUDGED if not states else "no play was missed"))


def whole(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge whether all playlists could be read unchanged at the last pull."""
    states = [state for state in store.spotify.pulls.states(tenant.id) if state.dataset == "playlists"]
    unstable = {state.user_id: int(state.detail.get("unstable", 0)) for state in states if state.completed_at}
    if not unstable:
        return Verdict(None, NOT_JUDGED)
    said = ", ".join(f"{user}: {count} unstable" for user, count in sorted(unstable.items()))
    return Verdict(not any(unstable.values()), said)


SPOTIFY_CHECKS = [
    *(
        _check(
            dataset, "fresh", f"The last whole pull of every user is young enough for {dataset.asset}.", fresh(dataset)
        )
        for dataset in DATASETS.values()
    ),
    _check(RECENTLY_PLAYED, "gapless", "Of the last day's pulls, none brought only plays that were new.", gapless),
    _check(DATASETS["playlists"], "whole", "No playlist changed while it was read the last time.", whole),
]
