"""`collectors spotify status|capabilities`: how a tenant's pulls stand, and what its application may ask."""

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from collectors_dagster.cli.spotify_pull import AsJson, TenantOption, log_to_standard_error, source_of
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.strategies.spotify_datasets import DATASETS

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale.spotify_pulls import PullState


def status(*, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Show each dataset of each user: when it was pulled and whether it waits. Asks Spotify nothing."""
    from collectors_dagster.integrations.timescale import Store

    settings = load_settings()
    found = source_of(settings, tenant)
    with Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=1) as store:
        store.tenants.introduce(found)
        states = store.spotify.pulls.states(found.id)
        users = [
            {"user": one.user_id, "needs_consent": one.needs_consent}
            for one in store.spotify_accounts.of_tenant(found.id)
        ]
    if as_json:
        described = {
            "tenant": found.id,
            "sandbox": found.spotify.sandbox,
            "users": users,
            "datasets": [_document(state) for state in states],
        }
        typer.echo(json.dumps(described, indent=2))
        return
    typer.echo(
        f"{found.id}: {'the sandbox of this machine: all data are invented' if found.spotify.sandbox else 'Spotify'}"
    )
    for user in users:
        typer.echo(f"user {user['user']}: {'needs to consent again' if user['needs_consent'] else 'connected'}")
    if not users:
        typer.echo(f"no user is connected: run `collectors spotify connect --tenant {found.id}`")
    for state in states:
        typer.echo(f"{state.dataset:18} {state.user_id or '-':24} {_said(state)}")
    if not states:
        typer.echo("nothing was pulled yet")


def capabilities(
    *,
    tenant: TenantOption,
    as_json: AsJson = False,
) -> None:
    """Ask Spotify what the application's quota mode allows: a handful of requests."""
    from collectors_dagster.collectors.spotify.opening import Opener
    from collectors_dagster.integrations.redis import shared_store
    from collectors_dagster.integrations.timescale import Store

    log_to_standard_error()
    settings, clock = load_settings(), SystemClock()
    found = source_of(settings, tenant)
    with Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=2) as store:
        store.tenants.introduce(found)
        opener = Opener(settings, store, shared_store(settings, clock=clock), clock)

        async def ask() -> Any:
            async with opener(found, None, urgent=False) as client:
                return await client.capabilities(fresh=True)

        profile = asyncio.run(ask())
    features = {name: seen.available for name, seen in sorted(profile.features.items())}
    if as_json:
        described = {"tenant": found.id, "sandbox": found.spotify.sandbox, "mode": profile.mode, "features": features}
        typer.echo(json.dumps(described, indent=2))
        return
    typer.echo(f"{found.id}: {profile.mode} mode" + (" (sandbox)" if found.spotify.sandbox else ""))
    for name, there in features.items():
        typer.echo(f"{name:24} {'yes' if there else 'not available in this mode'}")


def _document(state: "PullState") -> dict[str, Any]:
    return {
        "dataset": state.dataset,
        "user": state.user_id or None,
        "sandbox": state.sandbox,
        "mode": state.mode,
        "completed_at": _instant(state.completed_at),
        "under_way": state.under_way,
        "put_off_until": _instant(state.put_off_until),
        "put_off_reason": state.put_off_reason,
        "unavailable": state.unavailable,
        "gap_at": _instant(state.gap_at),
        "detail": dict(state.detail),
        "purpose": DATASETS[state.dataset].purpose if state.dataset in DATASETS else None,
    }


def _instant(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None


def _said(state: "PullState") -> str:
    if state.put_off_until:
        return f"put off until {state.put_off_until:%Y-%m-%d %H:%M:%S} UTC ({state.put_off_reason})"
    if state.unavailable:
        return f"not available in this mode: {state.unavailable}"
    done = f"pulled {state.completed_at:%Y-%m-%d %H:%M} UTC" if state.completed_at else "never pulled to its end"
    gap = f"; a gap is possible at {state.gap_at:%Y-%m-%d %H:%M} UTC" if state.gap_at else ""
    return done + gap
