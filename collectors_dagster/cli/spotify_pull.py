"""`collectors spotify pull`: a dataset pulled outside of Dagster, with the same code, state and quota."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.strategies.spotify_datasets import DATASETS, Dataset

if TYPE_CHECKING:
    from collectors_dagster.collectors.spotify.pulling import Progress
    from collectors_dagster.collectors.spotify.runner import Outcome, Puller
    from collectors_dagster.tenants import Tenant

PUT_OFF = 75
"""Exit code of a pull that was put off: ``EX_TEMPFAIL`` of ``sysexits.h``."""
LINE_SECONDS = 2.0
"""Without a terminal, progress is told so often."""

TenantOption = Annotated[str, typer.Option("--tenant", metavar="ID", help="Whose data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def pull(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help=f"{', '.join(DATASETS)}, or all.")],
    *,
    tenant: TenantOption,
    user: Annotated[str, typer.Option(metavar="USER", help="Only this connected user; by default all.")] = "",
    whole: Annotated[bool, typer.Option("--whole", help="Saved tracks: read all, which shows removals.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pull now, from where the last pull stopped. Exits with 75 if Spotify asked for a pause, naming its end."""
    datasets = _chosen(asset)
    log_to_standard_error()
    settings, clock = load_settings(), SystemClock()
    found = source_of(settings, tenant)
    with _puller(settings, found, clock, whole=whole, quiet=as_json) as puller:
        outcomes = asyncio.run(_pull(puller, datasets, user or None))
    if as_json:
        typer.echo(json.dumps([as_document(one, found) for one in outcomes], indent=2))
    elif not outcomes:
        typer.echo(f"no user is connected: run `collectors spotify connect --tenant {found.id}`")
    else:
        for one in outcomes:
            typer.echo(_line(one, found))
    _exit(outcomes)


def source_of(settings: Settings, tenant_id: str) -> "Tenant":
    """Return a tenant that has a Spotify source.

    Raises
    ------
    ConfigurationError
        If there is no such tenant, or it has none.
    """
    from collectors_dagster.config.tenants import load_tenants

    tenant = load_tenants(settings).find(tenant_id)
    if not tenant.spotify.enabled:
        raise ConfigurationError(
            f"tenant {tenant_id} has no Spotify source: write sources.spotify into its file, e.g. `account: main`, or "
            "`sandbox: true` for invented data"
        )
    return tenant


def log_to_standard_error() -> None:
    """Keep standard output for the answer: scripts read it."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def as_document(outcome: "Outcome", tenant: "Tenant") -> dict[str, Any]:
    """Return an outcome as JSON."""
    pulled = outcome.pulled
    return {
        "tenant": tenant.id,
        "dataset": outcome.dataset,
        "user": outcome.user_id or None,
        "sandbox": tenant.spotify.sandbox,
        "ended": outcome.ending.value,
        "until": outcome.until.isoformat() if outcome.until else None,
        "reason": outcome.said or None,
        "mode": outcome.mode,
        "rows": {"new": pulled.new, "changed": pulled.changed, "removed": pulled.removed},
        "possible_gap": pulled.gap,
        "notes": list(pulled.notes),
        "detail": dict(pulled.detail),
        "usage": dict(outcome.usage),
    }


async def _pull(puller: "Puller", datasets: Sequence[Dataset], user: str | None) -> "list[Outcome]":
    """Pull one dataset after the other; the first that is put off ends it."""
    from collectors_dagster.collectors.spotify.runner import Ending

    outcomes: list[Outcome] = []
    for dataset in datasets:
        outcomes += await puller.pull(dataset, only_user=user if dataset.per_user else None)
        if any(one.ending is Ending.PUT_OFF for one in outcomes):
            break
    return outcomes


@contextmanager
def _puller(
    settings: Settings, tenant: "Tenant", clock: SystemClock, *, whole: bool, quiet: bool
) -> "Iterator[Puller]":
    from collectors_dagster.collectors.spotify.opening import Opener
    from collectors_dagster.collectors.spotify.runner import Puller
    from collectors_dagster.integrations.redis import shared_store
    from collectors_dagster.integrations.timescale import Store

    with (
        Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=2) as store,
        _progress(clock, quiet=quiet) as progress,
    ):
        store.tenants.introduce(tenant)
        yield Puller(
            tenant=tenant,
            store=store,
            opening=Opener(settings, store, shared_store(settings, clock=clock), clock),
            clock=clock,
            day=clock.now().date(),
            whole=whole,
            progress=progress,
        )


@contextmanager
def _progress(clock: Clock, *, quiet: bool) -> "Iterator[Progress]":
    """Yield who is told how far a pull is: bars on a terminal, lines without, nobody beside JSON."""
    if quiet:
        from collectors_dagster.collectors.spotify.pulling import unheard

        yield unheard
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield _Lines(clock)


@contextmanager
def _bars() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def told(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield told


class _Lines:
    """Writes a line to standard error now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told = clock.monotonic()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._clock.monotonic() - self._told >= LINE_SECONDS:
            self._told = self._clock.monotonic()
            sys.stderr.write(f"{what}: {done}" + (f" of {total}\n" if total is not None else "\n"))
            sys.stderr.flush()


def _chosen(asset: str) -> list[Dataset]:
    if asset == "all":
        return list(DATASETS.values())
    name = asset.removeprefix("spotify_")
    if name not in DATASETS:
        raise ConfigurationError(f"there is no Spotify asset {asset[:40]!r}; known are: all, {', '.join(DATASETS)}")
    return [DATASETS[name]]


def _line(one: "Outcome", tenant: "Tenant") -> str:
    whose = f" of {one.user_id}" if one.user_id else ""
    label = " [sandbox]" if tenant.spotify.sandbox else ""
    pulled, usage = one.pulled, one.usage
    said = f"{one.dataset}{whose}{label}: {one.ending.value}"
    if one.said:
        return f"{said}: {one.said}"
    figures = (
        f"{pulled.new} new, {pulled.changed} changed, {pulled.removed} removed; "
        f"{usage.get('requests', 0):.0f} requests, "
        f"{usage.get('not_modified', 0):.0f} unchanged, {usage.get('cache_hits', 0):.0f} from the cache, "
        f"{usage.get('waited_seconds', 0.0):.1f} s waited"
    )
    return "; ".join([f"{said}: {figures}", *pulled.notes])


def _exit(outcomes: "Sequence[Outcome]") -> None:
    from collectors_dagster.collectors.spotify.runner import Ending

    waits = next((one for one in outcomes if one.ending is Ending.PUT_OFF), None)
    consent = next((one for one in outcomes if one.ending is Ending.NEEDS_CONSENT), None)
    if waits:
        sys.stderr.write(
            f"collectors: {waits.dataset} was put off: {waits.said}; what came is stored, and it goes on\n"
        )
        raise typer.Exit(PUT_OFF)
    if consent:
        sys.stderr.write(f"collectors: {consent.said}\n")
        raise typer.Exit(1)
