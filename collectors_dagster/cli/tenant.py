"""`collectors tenant`: the tenants, which are files; whatever runs follows a change within seconds.

Exit codes: 0 done, 1 refused (one line with the remedy), 2 the command line itself is wrong.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from collectors_dagster.cli import sql_logins
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.tenant_schema import KNOWN_COLLECTORS, checked_tenant_file
from collectors_dagster.config.tenants import load_tenants, remove_tenant, shown_tenant_path, write_tenant
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.scopes import Scope
from collectors_dagster.tenants import AlertTarget, Tenant, Tier

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("grant-sql")(sql_logins.grant_sql)
app.command("revoke-sql")(sql_logins.revoke_sql)
app.command("list-sql")(sql_logins.list_sql)

TenantId = Annotated[str, typer.Argument(help="2-40 lower-case letters, digits and inner hyphens, e.g. acme-eu.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def add(
    tenant_id: TenantId,
    *,
    name: Annotated[str | None, typer.Option(help="How people call the tenant; by default the id.")] = None,
    tier: Annotated[Tier, typer.Option(help="premium: runs of its own, served first.")] = Tier.STANDARD,
    collector: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(KNOWN_COLLECTORS)}; repeat for more; default all.")
    ] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Store detail metrics too (docs/metrics.md).")] = False,
    interval: Annotated[float | None, typer.Option(help="Resolution in the database, seconds.")] = None,
    cgroup: Annotated[
        list[str] | None,
        typer.Option(help="Observe only this cgroup, e.g. '/system.slice/shop-*.service'; repeat for more."),
    ] = None,
    max_series: Annotated[int | None, typer.Option(help="Series stored per host, maxima included.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score from which a minute is anomalous.")] = None,
    raw_days: Annotated[int | None, typer.Option(help="Days that samples are kept.")] = None,
    hourly_days: Annotated[int | None, typer.Option(help="Days that hourly aggregates are kept.")] = None,
    webhook: Annotated[
        list[str] | None, typer.Option(help="Alert target NAME=URL; the URL may be env:VARIABLE or file:/path.")
    ] = None,
    spotify_account: Annotated[str | None, typer.Option(help="Spotify developer account whose quota is used.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file of an existing tenant.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a tenant: its file is checked and written; the running stack follows within 5 seconds."""
    settings = load_settings()
    performance = {
        "collectors": collector,
        "detail": detail or None,
        "collection_interval": interval,
        "anomaly_threshold": threshold,
        "scope": {"cgroups": cgroup},
        "max_series": max_series,
    }
    values = {
        "id": tenant_id,
        "name": name or tenant_id,
        "tier": tier.value,
        "sources": {"system_performance": performance, "spotify": {"account": spotify_account}},
        "retention": {"raw_days": raw_days, "hourly_days": hourly_days},
        "alerts": [{"kind": "log", "name": "log"}, *map(_webhook, webhook or ())],
    }
    path = write_tenant(settings, checked_tenant_file(_given(values), lambda _path: "command line"), replace=replace)
    found = load_tenants(settings)
    tenant = found.find(tenant_id)
    _print_result(_as_dict(tenant, settings), f"added {tenant_id} ({path})", as_json=as_json)
    _warn(_problems_of(tenant_id, settings, found.problems))


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List all tenants, and what is wrong with their files."""
    settings = load_settings()
    found = load_tenants(settings)
    if as_json:
        tenants = [_as_dict(each, settings) for each in found.tenants]
        _print_json({"tenants": tenants, "problems": list(found.problems)})
        return
    Console(width=None if sys.stdout.isatty() else 160).print(_table(found.tenants))
    _warn(found.problems)


@app.command()
def show(tenant_id: TenantId, as_json: AsJson = False) -> None:
    """Show one tenant with everything that its file leaves to the defaults."""
    settings = load_settings()
    found = load_tenants(settings)
    tenant = found.find(tenant_id)
    if as_json:
        _print_json(_as_dict(tenant, settings))
    else:
        for name, value in _as_dict(tenant, settings).items():
            typer.echo(f"{name + ':':20}{_in_words(value)}")
    _warn(_problems_of(tenant_id, settings, found.problems))


@app.command()
def remove(tenant_id: TenantId, as_json: AsJson = False) -> None:
    """Remove a tenant's file: nothing more is collected; what is stored stays."""
    settings = load_settings()
    path = remove_tenant(settings, tenant_id)
    done = f"removed {tenant_id} ({path}); its stored data stay, `collectors tenant add {tenant_id}` brings it back"
    _print_result({"id": tenant_id, "removed": str(path)}, done, as_json=as_json)


def _webhook(text: str) -> dict[str, str]:
    name, separator, url = text.partition("=")
    if not separator:
        raise ConfigurationError("--webhook must be NAME=URL, e.g. --webhook ops=env:OPS_WEBHOOK_URL")
    return {"kind": "webhook", "name": name, "url": url}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was not given, so that the file stays as short as the wish."""
    nested = {name: _given(each) if isinstance(each, dict) else each for name, each in values.items()}
    return {name: each for name, each in nested.items() if each not in (None, {}, [])}


def _as_dict(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "tier": tenant.tier.value,
        "synthetic": tenant.synthetic,
        "file": _file(tenant.id, settings),
        "system_performance": {
            "enabled": tenant.system.enabled,
            "collectors": list(tenant.system.collectors),
            "detail": tenant.system.detail,
            "collection_interval": tenant.system.collection_interval_seconds,
            "ml_enabled": tenant.system.ml_enabled,
            "anomaly_threshold": tenant.system.anomaly_threshold,
            "scope": _scope(tenant.system.scope),
            "max_series": tenant.system.max_series,
        },
        "spotify": {"account": tenant.spotify.account, "client_id": tenant.spotify.client_id},
        "retention": {"raw_days": tenant.retention.raw_days, "hourly_days": tenant.retention.hourly_days},
        "alerts": [_target(each) for each in tenant.alerts],
    }


def _scope(scope: Scope) -> dict[str, Any]:
    processes = [_given(asdict(each)) for each in scope.processes]
    return {"host": scope.host, "cgroups": list(scope.cgroups), "processes": processes}


def _target(target: AlertTarget) -> dict[str, str | None]:
    """Show a webhook's host only: the rest of its address is often the key to it."""
    return {"kind": target.kind, "name": target.name, "host": urlsplit(target.url).hostname if target.url else None}


def _problems_of(tenant_id: str, settings: Settings, problems: Sequence[str]) -> list[str]:
    return [each for each in problems if each.startswith(f"{_file(tenant_id, settings)}:")]


def _file(tenant_id: str, settings: Settings) -> str:
    return shown_tenant_path(settings, tenant_id)


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(each)}" for name, each in value.items() if each is not None)
    if isinstance(value, list):
        return " ".join(f"[{_in_words(each)}]" if isinstance(each, dict) else str(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _table(tenants: Sequence[Tenant]) -> Table:
    table = Table("tenant", "name", "tier", "host collectors", "every", "alerts", box=None, pad_edge=False)
    for each in tenants:
        collectors = " ".join(each.system.collectors) if each.system.enabled else "-"
        name = f"{each.name} (synthetic)" if each.synthetic and "synthetic" not in each.name else each.name
        alerts = " ".join(target.name for target in each.alerts)
        interval = f"{each.system.collection_interval_seconds:g} s"
        table.add_row(each.id, name, each.tier.value, collectors, interval, alerts)
    return table


def _print_result(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(data)
    else:
        typer.echo(text)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _warn(problems: Sequence[str]) -> None:
    for line in problems:
        typer.echo(f"problem: {line}", err=True)
