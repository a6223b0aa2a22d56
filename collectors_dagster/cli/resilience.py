"""`collectors resilience`: circuits, rate limits, bulkheads, leaders and shares of the whole deployment.

Exit codes: 0 all is told, 1 shared state is away or an order could not be given, 2 the command line itself is wrong.
"""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collectors_dagster.config import Settings
    from collectors_dagster.patterns.breaker_policy import BreakerSettings
    from collectors_dagster.patterns.overview import Overview

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Circuit = Annotated[
    str, typer.Argument(help="Its name as `status` shows it, e.g. timescaledb or acme/notifications.ops.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the circuit's history and in the operator log.")]


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, which is also what a pipe gets.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until q or Ctrl-C.")] = False,
    history: Annotated[int, typer.Option(min=0, max=200, help="Changes of state shown, the latest first.")] = 10,
) -> None:
    """Show every circuit, limit, bulkhead, leader and share, and whether state is shared."""
    from collectors_dagster.config import load_settings
    from collectors_dagster.integrations.redis import look_around

    settings = load_settings()
    if watch and not as_json and sys.stdout.isatty():
        from collectors_dagster.cli.resilience_screen import watched

        watched(lambda: look_around(settings), settings.redis_place, history)
        return
    found = look_around(settings)
    if as_json or not sys.stdout.isatty():
        from collectors_dagster.cli.resilience_json import as_document

        typer.echo(json.dumps(as_document(found, settings.redis_place), indent=2))
    else:
        from rich.console import Console

        from collectors_dagster.cli.resilience_screen import picture

        console = Console()
        console.print(picture(found, settings.redis_place, history, console.width))
    raise typer.Exit(bool(found.away))


@app.command()
def force_open(circuit: Circuit, reason: Reason = "") -> None:
    """Refuse all calls, in every process, until `reset`."""
    _order(circuit, "forced_open", reason)


@app.command()
def disable(circuit: Circuit, reason: Reason = "") -> None:
    """Let all calls pass and count nothing, until `reset`."""
    _order(circuit, "disabled", reason)


@app.command()
def metrics_only(circuit: Circuit, reason: Reason = "") -> None:
    """Let all calls pass and count them, but open never, until `reset`."""
    _order(circuit, "metrics_only", reason)


@app.command()
def reset(circuit: Circuit, reason: Reason = "") -> None:
    """Close the circuit, healthy, and leave it to itself again."""
    _order(circuit, "closed", reason)


def _order(shown: str, phase: str, reason: str) -> None:
    """Give an order, and note it."""
    from collectors_dagster.clock import SystemClock
    from collectors_dagster.config import load_settings
    from collectors_dagster.errors import StartupError
    from collectors_dagster.integrations.redis import look_around
    from collectors_dagster.integrations.redis.factory import bare_store
    from collectors_dagster.monitoring.operator_log import OperatorLog, operator_name
    from collectors_dagster.patterns.breaker_policy import Phase, configured
    from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, failed_if_transient

    settings, clock = load_settings(), SystemClock()
    log = OperatorLog(settings, clock)
    found = look_around(settings)
    if found.away:
        kinds = ", ".join(sorted(set(found.away.values())))
        raise StartupError(f"shared state is away ({settings.redis_place}: {kinds}): nobody would hear the order")
    tenant, name = _known(shown, found, settings)
    policy = configured(_keys(name, settings))
    with bare_store(settings) as store:
        breaker = CircuitBreaker(name, policy, classify=failed_if_transient, clock=clock, store=store, tenant=tenant)
        before = breaker.report().phase
        breaker.force(Phase(phase), f"{operator_name()}: {reason}" if reason else operator_name())
    log.write("circuit_set_by_hand", circuit=shown, before=before.value, after=phase, reason=reason)
    typer.echo(f"{shown}: {before.value} -> {phase}")


def _known(shown: str, found: "Overview", settings: "Settings") -> tuple[str, str]:
    """Return tenant and name of a circuit that exists, or of a service's own, which may come to be."""
    from difflib import get_close_matches

    from collectors_dagster.config.policy_sections import BUILT_IN
    from collectors_dagster.errors import ConfigurationError
    from collectors_dagster.patterns.overview import SHARED

    tenant, _, name = shown.rpartition("/")
    known = {(circuit.tenant, circuit.name) for circuit in found.circuits} | {(SHARED, service) for service in BUILT_IN}
    wanted = (tenant or SHARED, name)
    if wanted in known:
        return wanted
    names = sorted(each if owner == SHARED else f"{owner}/{each}" for owner, each in known)
    near = get_close_matches(shown, names, n=3) or names[:8]
    raise ConfigurationError(f"there is no circuit {shown[:100]!r}; there are: {', '.join(near)}")


def _keys(name: str, settings: "Settings") -> "BreakerSettings":
    from collectors_dagster.config.policy_sections import BUILT_IN

    service = next((each for each in BUILT_IN if each == name.partition(".")[0]), None)
    return settings.patterns.of(service).circuit_breaker if service else settings.patterns.circuit_breaker
