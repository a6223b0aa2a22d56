"""`collectors spotify connect|disconnect|accounts`: who lets which tenant read what at Spotify."""

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from collectors_dagster.config.spotify import SpotifyApplication
    from collectors_dagster.integrations.spotify.oauth.authorization import ConsentRequest
    from collectors_dagster.integrations.spotify.oauth.connecting import Connected
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.integrations.timescale.spotify_accounts import AccountStatus
    from collectors_dagster.tenants import Tenant

TenantOption = Annotated[str, typer.Option("--tenant", help="Whose.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def connect(
    *,
    tenant: TenantOption,
    manual: Annotated[
        bool, typer.Option("--manual", help="Paste the address that the browser ends at: for machines without one.")
    ] = False,
    choose: Annotated[bool, typer.Option("--choose", help="Let Spotify ask which user it is.")] = False,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait for the user.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Let a user give a tenant access: prints an address to open, waits for the browser on this machine, stores."""
    from collectors_dagster.config.spotify import spotify_application
    from collectors_dagster.integrations.spotify.oauth.opening import open_connecting

    settings = load_settings()
    with _opened(settings, tenant) as (store, found):
        application = spotify_application(settings, found)
        store.tenants.introduce(found)  # a new tenant need not wait until somebody told the database of it
        store.spotify_accounts.of_tenant(tenant)  # what is wrong with the database is said before the user is asked
        connecting = open_connecting(
            settings, found, store=store, clock=SystemClock(), random=random.SystemRandom().random
        )
        asked = _pasted if manual else _redirected
        request, code = asked(settings, application, timeout, choose=choose)
        connected = connecting.redeem(request, code)
    if as_json:
        typer.echo(json.dumps(_as_json(connected), indent=2))
        return
    typer.echo(f"connected {connected.user_id} to tenant {tenant}; consent lasts until {connected.ends_at:%Y-%m-%d}")
    if connected.missing:
        typer.echo(f"not allowed by the user: {', '.join(connected.missing)}; what needs it is not collected", err=True)


def disconnect(
    *,
    tenant: TenantOption,
    user: Annotated[str, typer.Option("--user", help="As `collectors spotify accounts` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a user's access: the tokens and everything that was collected of this user are deleted."""
    from collectors_dagster.integrations.spotify.oauth.disconnecting import disconnect_user
    from collectors_dagster.integrations.timescale.spotify_accounts import TokenOwner

    settings = load_settings()
    with _opened(settings, tenant) as (store, _):
        known = [each.user_id for each in store.spotify_accounts.of_tenant(tenant)]
        if user not in known:
            raise ConfigurationError(
                f"tenant {tenant}: Spotify account {user[:200]!r} is not connected; "
                f"connected are: {', '.join(known) or 'none'}"
            )
        if not yes:
            typer.confirm(f"delete the tokens and all collected data of {user} of tenant {tenant}?", abort=True)
        rows = disconnect_user(
            store.spotify_accounts, TokenOwner(tenant, user), lambda: store.spotify.forget(tenant, user)
        )
    if as_json:
        typer.echo(json.dumps({"tenant": tenant, "user": user, "rows_deleted": rows}, indent=2))
        return
    typer.echo(
        f"disconnected {user} from tenant {tenant}; {rows} rows of collected data deleted. The user can also take the "
        "application off the list at https://www.spotify.com/account/apps"
    )


def accounts(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List connected users: state, what they allowed, and until when."""
    from collectors_dagster.config.tenants import load_tenants

    settings = load_settings()
    directory = load_tenants(settings)
    chosen = directory.tenants if tenant is None else (directory.find(tenant),)
    with _store(settings) as store:
        stored = set(store.tenants.ids())
        found = [account for one in chosen if one.id in stored for account in store.spotify_accounts.of_tenant(one.id)]
    rows = [_row(account, SystemClock().now()) for account in found]
    if as_json:
        typer.echo(json.dumps({"accounts": rows}, indent=2))
    else:
        _print_table(rows)


@contextmanager
def _opened(settings: Settings, tenant_id: str) -> "Iterator[tuple[Store, Tenant]]":
    """Yield the store and a configured tenant."""
    from collectors_dagster.config.tenants import load_tenants

    tenant = load_tenants(settings).find(tenant_id)
    with _store(settings) as store:
        yield store, tenant


def _store(settings: Settings) -> "Store":
    from collectors_dagster.integrations.timescale import Store

    return Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=2)


def _redirected(
    settings: Settings, application: "SpotifyApplication", timeout: float, *, choose: bool
) -> "tuple[ConsentRequest, SecretStr]":
    """Wait for the user's browser on this machine."""
    from collectors_dagster.integrations.spotify.oauth.authorization import ask_for_consent
    from collectors_dagster.integrations.spotify.oauth.listener import listening

    with listening(settings.spotify.redirect_uri) as listener:
        request = ask_for_consent(application, listener.redirect_uri, settings.spotify.scopes, show_dialog=choose)
        _show(request)
        typer.echo(f"waiting at {listener.redirect_uri} for {timeout:g} s", err=True)
        return request, listener.wait(request, timeout)


def _pasted(
    settings: Settings, application: "SpotifyApplication", timeout: float, *, choose: bool
) -> "tuple[ConsentRequest, SecretStr]":
    """Read the address at which the user's browser ended from standard input, where no list of processes shows it."""
    from collectors_dagster.integrations.spotify.oauth.authorization import ask_for_consent

    request = ask_for_consent(application, settings.spotify.redirect_uri, settings.spotify.scopes, show_dialog=choose)
    _show(request)
    typer.echo(
        "then paste the whole address that the browser ends at, although the page there fails to load:", err=True
    )
    return request, request.code(sys.stdin.readline().strip())


def _show(request: "ConsentRequest") -> None:
    typer.echo("open this address in the user's browser:", err=True)
    typer.echo(request.url, err=True)
    sys.stderr.flush()


def _as_json(connected: "Connected") -> dict[str, Any]:
    return {
        "tenant": connected.tenant_id,
        "user": connected.user_id,
        "scopes": list(connected.scopes),
        "missing_scopes": list(connected.missing),
        "consent_ends_at": connected.ends_at.isoformat(),
    }


def _row(account: "AccountStatus", now: datetime) -> dict[str, Any]:
    from collectors_dagster.integrations.spotify.oauth.consent import consent_ends, consent_phase

    return {
        "tenant": account.tenant_id,
        "user": account.user_id,
        "state": account.state.value,
        "consent": consent_phase(account.consented_at, now).value,
        "consented_at": account.consented_at.isoformat(),
        "consent_ends_at": consent_ends(account.consented_at).isoformat(),
        "token_at": account.token_at.isoformat() if account.token_at else None,
        "scopes": list(account.scopes),
        "reason": account.reason,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("tenant", "user", "state", "consent ends", "scopes", "reason", box=None, pad_edge=False)
    for row in rows:
        ends = row["consent_ends_at"][:10] + ("" if row["consent"] == "valid" else f" ({row['consent']})")
        cells = (row["tenant"], row["user"], row["state"], ends, " ".join(row["scopes"]), row["reason"] or "")
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)
