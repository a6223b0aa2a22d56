"""`collectors run pipeline`: the real jobs, launched through the running web server, in the order of the graph.

Exit codes: 0 everything was stored, 1 something failed (its reason is printed), 2 wrong usage.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.spotify import quota_account
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import ConfigurationError, ServiceTimeoutError
from collectors_dagster.integrations.orchestrator.api import Launch, Orchestrator, RunStatus
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Window
from collectors_dagster.strategies.batches import Batch, insertion_order, plan_batches
from collectors_dagster.tenants import Tenant, Tier

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLLECTED = ("collection_run", "metrics_hourly", "metrics_daily", "feature_table")
MODELS = ("anomaly_model", "forecast_model")
JUDGED = ("anomaly_scores", "load_forecast", "health_report", "model_review")

LOOK_SECONDS = 0.5
MOST_SECONDS = 900.0
FIRST_MINUTE_SECONDS = 150.0
LEAST_OF_A_MINUTE = timedelta(seconds=10)
"""Less of a first minute than this, two samples, tells nothing; the next one is awaited."""
ONE_RUN = 1_000
"""By hand, all tenants share a run: few process starts matter more than the queue's order."""


@app.callback()
def run() -> None:
    """Run the pipeline by hand."""


@app.command()
def pipeline(
    tenant: Annotated[str, typer.Option(metavar="ID", help="Only this tenant; by default all.")] = "",
    day: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="This day; by default today, synthetic tenants whole.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the last runs, too.")] = True,
) -> None:
    """Collect, train, score and judge; Spotify is pulled behind it, at the speed of its quota."""
    settings, clock = load_settings(), SystemClock()
    tenants = _chosen(settings, tenant)
    with Orchestrator(settings.dagster.webserver_url) as dagster:
        order = _synchronised(settings, dagster)
        steps = Steps(dagster, clock)
        steps.run([_chain(settings, group, order, day, clock) for group in invented_and_real(tenants)], wait=wait)
        steps.leave(_spotify(settings, tenants, order, day, clock))
    raise typer.Exit(1 if steps.failed else 0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some tenants and a range of days."""

    batch: Batch
    first_day: str
    last_day: str

    @property
    def shown(self) -> str:
        """How people read it."""
        days = self.first_day if self.first_day == self.last_day else f"{self.first_day} to {self.last_day}"
        return f"{', '.join(self.batch.tenants)} · {days}"


@dataclass(frozen=True, slots=True)
class Step:
    """One run and how it is called."""

    title: str
    launch: Launch


@dataclass(frozen=True, slots=True)
class Phase:
    """Runs that may go side by side; none where something is still awaited.

    Attributes
    ----------
    is_last : bool
        Nothing of its chain comes after it: whoever does not want to wait need not.
    """

    steps: Sequence[Step] = ()
    is_last: bool = False


class Steps:
    """Launches runs side by side, waits for them, prints a line for each."""

    def __init__(self, dagster: Orchestrator, clock: Clock) -> None:
        self._dagster = dagster
        self._clock = clock
        self.failed = False

    def run(self, chains: Sequence[Iterator[Phase]], *, wait: bool = True) -> None:
        """Run `chains` at the same time, each phase by phase; later phases are tried even if some tenants failed."""
        going = [_Chain(phases) for phases in chains]
        while going := [chain for chain in going if self._goes_on(chain, wait=wait)]:
            self._clock.sleep(LOOK_SECONDS)

    def leave(self, steps: Sequence[Step]) -> None:
        """Launch `steps` and wait for nothing."""
        for step in steps:
            _say([f"{step.title}: queued as {self._dagster.launch(step.launch)}"])

    def _goes_on(self, chain: "_Chain", *, wait: bool) -> bool:
        """Look at a chain's runs, and begin its next phase once they have ended; say whether more is to come."""
        for run_id in [one for one in chain.runs if self._is_over(one, chain.runs[one], chain.started)]:
            del chain.runs[run_id]
        if chain.runs:
            self._refuse_to_wait_for_ever(chain)
            return True
        phase = next(chain.phases, None)
        if phase is None:
            return False
        if phase.is_last and not wait:
            self.leave(phase.steps)
            return False
        chain.started = self._clock.monotonic()
        chain.runs = {self._dagster.launch(step.launch): step for step in phase.steps}
        return True

    def _is_over(self, run_id: str, step: Step, started: float) -> bool:
        state = self._dagster.run(run_id)
        if not state.status.is_over:
            return False
        seconds = self._clock.monotonic() - started
        if state.status is RunStatus.FAILED:
            self.failed = True
            _say([f"{step.title}: FAILED after {seconds:.0f} s: {self._dagster.why_failed(run_id)} (run {run_id})"])
        else:
            _say([f"{step.title}: {state.materialized} partitions in {seconds:.0f} s"])
        return True

    def _refuse_to_wait_for_ever(self, chain: "_Chain") -> None:
        if self._clock.monotonic() - chain.started > MOST_SECONDS:
            raise ServiceTimeoutError(
                f"after {MOST_SECONDS:.0f} s these runs have not ended: {', '.join(chain.runs)}; "
                "is the daemon running? See `collectors status`",
                service="dagster",
                operation="wait for runs",
            )


@dataclass(slots=True)
class _Chain:
    """Phases to come, and the runs of the present one since `started`."""

    phases: Iterator[Phase]
    runs: dict[str, Step] = field(default_factory=dict)
    started: float = 0.0


def _chain(
    settings: Settings, group: Sequence[Tenant], order: Sequence[str], day: str, clock: Clock
) -> Iterator[Phase]:
    """Collect, train, score and judge some tenants."""
    if not day:
        yield from _first_minutes(settings, group, clock)
    stretches = _stretches(settings, group, order, day, clock)
    yield Phase([_days("collect", COLLECTED, one) for one in stretches])
    yield Phase([_models(batch) for batch in _batches(group, order)])
    yield Phase([_days("judge", JUDGED, one) for one in stretches], is_last=True)


def invented_and_real(tenants: Sequence[Tenant]) -> list[list[Tenant]]:
    """Return the synthetic tenants and the others: a fortnight to be learned need not wait for a first minute."""
    groups = [[tenant for tenant in tenants if tenant.synthetic is synthetic] for synthetic in (True, False)]
    return [group for group in groups if group]


def _first_minutes(settings: Settings, tenants: Sequence[Tenant], clock: Clock) -> Iterator[Phase]:
    """Wait until each observed tenant has a minute: without it there is nothing to model or to judge."""
    waiting = [tenant.id for tenant in tenants if tenant.system.enabled and not tenant.synthetic]
    deadline = clock.monotonic() + FIRST_MINUTE_SECONDS
    with Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=1) as store:
        while waiting := [tenant_id for tenant_id in waiting if not has_first_minute(store.samples.span(tenant_id))]:
            if clock.monotonic() > deadline:
                _say([f"no minute of {', '.join(waiting)} has arrived yet; does the agent run?"])
                return
            yield Phase()


def has_first_minute(span: Window | None) -> bool:
    """Return whether a minute of the clock has ended of which at least two samples were seen.

    A first minute is seldom seen from its start; waiting for a whole one takes up to two.
    """
    return span is not None and span.end.replace(second=0, microsecond=0) - span.start >= LEAST_OF_A_MINUTE


def _chosen(settings: Settings, tenant_id: str) -> tuple[Tenant, ...]:
    directory = load_tenants(settings)
    return (directory.find(tenant_id),) if tenant_id else directory.tenants


def _synchronised(settings: Settings, dagster: Orchestrator) -> list[str]:
    """Do what the tenant sensor does, now: tenants in the database, and a partition for each. Return the partitions."""
    tenants = load_tenants(settings).tenants
    with Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=1) as store:
        store.tenants.sync(tenants)
    known = set(dagster.partitions(MODELS[0]))
    for tenant_id in insertion_order({tenant.id: tenant.tier for tenant in tenants}):
        if tenant_id not in known:
            dagster.add_partition(tenant_id)
    return dagster.partitions(MODELS[0])


def _stretches(
    settings: Settings, tenants: Sequence[Tenant], order: Sequence[str], day: str, clock: Clock
) -> list[Stretch]:
    today = f"{clock.now():%Y-%m-%d}"
    if day:
        checked = f"{_day(day):%Y-%m-%d}"
        return [Stretch(batch, checked, checked) for batch in _batches(tenants, order)]
    real = [tenant for tenant in tenants if not tenant.synthetic]
    invented = [tenant for tenant in tenants if tenant.synthetic]
    return [
        *(Stretch(batch, today, today) for batch in _batches(real, order)),
        *(_whole(settings, tenant, today) for tenant in invented),
    ]


def _whole(settings: Settings, tenant: Tenant, today: str) -> Stretch:
    """Return the whole history of a synthetic tenant, as far as partitions reach."""
    with Store(settings.database_conninfo(), application_name="collectors-cli", max_connections=1) as store:
        span = store.samples.span(tenant.id)
    reach = _day(today) - timedelta(days=settings.dagster.partition_days - 1)
    first = max(span.start, reach) if span else reach
    return Stretch(Batch(tenant.tier, (tenant.id,)), f"{first:%Y-%m-%d}" if span else today, today)


def _batches(tenants: Iterable[Tenant], order: Sequence[str]) -> list[Batch]:
    return plan_batches(order, {tenant.id: Tier.STANDARD for tenant in tenants}, ONE_RUN)


def _days(verb: str, assets: Sequence[str], stretch: Stretch) -> Step:
    first = f"{stretch.batch.first}|{stretch.first_day}"
    last = f"{stretch.batch.last}|{stretch.last_day}"
    return Step(f"{verb} {stretch.shown}", Launch("tenant_day", assets, first, last, _tags()))


def _spotify(settings: Settings, tenants: Sequence[Tenant], order: Sequence[str], day: str, clock: Clock) -> list[Step]:
    """Return the pulls of tenants with a Spotify source, by developer account: only today can be asked for."""
    today = f"{clock.now():%Y-%m-%d}"
    pulled = [tenant for tenant in tenants if tenant.spotify.enabled and day in {"", today}]
    accounts = {quota_account(settings, tenant) for tenant in pulled}
    return [
        step
        for account in sorted(accounts)
        for batch in _batches([one for one in pulled if quota_account(settings, one) == account], order)
        for step in _pulls(account, batch, today)
    ]


def _pulls(account: str, batch: Batch, day: str) -> list[Step]:
    shown = ", ".join(batch.tenants)
    tags = {"collectors/by": "hand", "collectors/spotify_account": account}
    snapshots = Launch("spotify_day", (), f"{batch.first}|{day}", f"{batch.last}|{day}", tags)
    lists = Launch("spotify", (), batch.first, batch.last, tags)
    return [
        Step(f"pull plays and saved tracks · {shown}", lists),
        Step(f"pull the day of Spotify · {shown}", snapshots),
    ]


def _models(batch: Batch) -> Step:
    """Return the run of both models: what they import costs more than a young history takes to learn."""
    launch = Launch("training", MODELS, batch.first, batch.last, _tags())
    return Step(f"train {', '.join(MODELS)} · {', '.join(batch.tenants)}", launch)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigurationError(f"{text[:40]!r} is not a day; write it like 2026-11-22") from None


def _tags() -> dict[str, str]:
    return {"dagster/priority": "20", "collectors/by": "hand"}


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
