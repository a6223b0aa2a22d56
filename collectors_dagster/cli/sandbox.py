"""`collectors sandbox`: services of this machine that stand in for others, with invented data."""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import ConfigurationError, StartupError

if TYPE_CHECKING:
    from collectors_dagster.sandbox import Fault, Quota, RateLimit
    from collectors_dagster.sandbox.service import Sandbox

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def sandbox() -> None:
    """Stand in for other services, with invented data."""


@app.command()
def spotify(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 18888,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anybody who reaches it may control it.")
    ] = "127.0.0.1",
    mode: Annotated[str, typer.Option(help="Quota mode of its applications: extended or development.")] = "extended",
    rate: Annotated[
        str, typer.Option(help="Requests per seconds, rolling, per developer account; or `none`.")
    ] = "60/30",
    lockout: Annotated[float, typer.Option(min=0, help="Least seconds of a pause after the limit was broken.")] = 0.0,
    escalation: Annotated[float, typer.Option(min=0, help="Seconds added by each request during a pause.")] = 0.0,
    quota: Annotated[
        str, typer.Option(help="Requests per seconds after which QUOTA_EXCEEDED comes; or `none`.")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Another number, another world.")] = 1,
    artists: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many there are.")] = 600,
    large_playlist: Annotated[int, typer.Option(min=0, help="Items of the one large playlist.")] = 1000,
    drift: Annotated[bool, typer.Option(help="Let playlists, libraries and popularity change from day to day.")] = True,
    latency: Annotated[float, typer.Option(min=0, max=60, help="Seconds before each answer.")] = 0.0,
    max_age: Annotated[int, typer.Option(min=0, help="Seconds for which catalogue answers may be kept.")] = 3600,
    compress: Annotated[bool, typer.Option(help="Pack answers with gzip for those who accept it.")] = True,
    state: Annotated[Path | None, typer.Option(help="File in which consents and tokens outlast a restart.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault as JSON; repeat for more: see the manual.")] = None,
) -> None:
    """Serve a local Spotify until SIGTERM: Web API and accounts service, from an invented world."""
    from collectors_dagster.sandbox import SandboxOptions, WorldOptions
    from collectors_dagster.sandbox.running import serve

    if mode not in {"extended", "development"}:
        raise ConfigurationError(f"--mode {mode[:40]}: it must be extended or development")
    options = SandboxOptions(
        mode="development" if mode == "development" else "extended",
        seed=seed,
        limit=_limit(rate, lockout, escalation),
        quota=_quota(quota),
        world=WorldOptions(artists=artists, large_playlist_items=large_playlist, drift=drift),
        latency_seconds=latency,
        max_age_seconds={"catalogue": max_age, "personal": 0},
        compress=compress,
        state_file=state,
    )
    faults = [_fault(each) for each in fault or ()]

    def ready(serving: "Sandbox") -> None:
        try:
            serving.arm(*faults)
        except ValueError as error:
            raise ConfigurationError(f"--fault: {error}") from error
        typer.echo(
            f"Spotify sandbox, everything in it is invented: {serving.base_url}/v1, consent at {serving.base_url}"
        )
        typer.echo(f"client id {options.apps[0].client_id}, secret {options.apps[0].client_secret}")

    try:
        serve(options, SystemClock(), host, port, ready)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartupError(f"cannot listen on {host} port {port} ({reason}): choose another with --port") from error


@app.command()
def connect() -> None:
    """Let users of the Spotify sandbox consent for each tenant that asks it and has no consent that lives."""
    from collectors_dagster.config import load_settings
    from collectors_dagster.config.tenants import load_tenants
    from collectors_dagster.integrations.spotify.oauth.sandbox_consent import connect_sandbox_users
    from collectors_dagster.integrations.timescale import Store

    settings = load_settings()
    tenants = [tenant for tenant in load_tenants(settings).tenants if tenant.spotify.sandbox]
    dice = random.SystemRandom().random
    with Store(settings.database_conninfo(), application_name="collectors-sandbox", max_connections=2) as store:
        for place, tenant in enumerate(tenants):
            for each in connect_sandbox_users(settings, tenant, place, store=store, clock=SystemClock(), random=dice):
                typer.echo(f"connected the sandbox user {each.user_id} to tenant {tenant.id}")


def _limit(text: str, lockout: float, escalation: float) -> "RateLimit | None":
    from collectors_dagster.sandbox import RateLimit

    if text == "none":
        return None
    requests, seconds = _pair("--rate", text)
    return RateLimit(requests, seconds, lockout, escalation)


def _quota(text: str) -> "Quota | None":
    from collectors_dagster.sandbox import Quota

    return None if text == "none" else Quota(*_pair("--quota", text))


def _pair(option: str, text: str) -> tuple[int, float]:
    """Return what ``60/30`` says: requests and seconds."""
    requests, _, seconds = text.partition("/")
    try:
        pair = int(requests), float(seconds)
    except ValueError:
        pair = 0, 0.0
    if pair[0] < 1 or not 0 < pair[1] < 1e9:
        raise ConfigurationError(f"{option} {text[:40]}: it must be requests/seconds, e.g. 60/30, or none")
    return pair


def _fault(text: str) -> "Fault":
    from collectors_dagster.sandbox.control import read_fault

    try:
        return read_fault(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"--fault {text[:80]}: {error}; docs/spotify-sandbox.md lists them") from error
