"""``collectors agent``: the sampler of this host.

Exit codes: 0 running well, 1 not running or refused, 2 the command line itself is wrong.
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import CollectorsError, SpoolError

if TYPE_CHECKING:
    from collectors_dagster.agent.quarantine import Quarantine
    from collectors_dagster.security.sealing import Sealer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
quarantine = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Batches that the store refused for good: list, retry, drop."
)
app.add_typer(quarantine, name="quarantine")

Names = Annotated[list[str] | None, typer.Argument(help="Batches, as `list` names them.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every batch in quarantine.")]


@app.command()
def run() -> None:
    """Sample this host and deliver to the tenants until SIGTERM."""
    import os
    import sys

    from collectors_dagster.config.surroundings import process_environment

    # In the place of this process, which has loaded ten times what the agent needs.
    command = [sys.executable, "-m", "collectors_dagster.agent"]
    os.execve(command[0], command, {"MALLOC_ARENA_MAX": "1", **process_environment()})  # noqa: S606 - our own interpreter


@app.command()
def top(
    url: Annotated[
        str | None, typer.Option("--url", help="Endpoint of an agent, e.g. on another host; else that of this home.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
) -> None:
    """Watch what is being sampled now: values, collectors, delivery, spool. q leaves."""
    from collectors_dagster.cli.top import run_top
    from collectors_dagster.cli.top_source import AgentSource, local_agent_url

    run_top(AgentSource(url or local_agent_url(load_settings())), SystemClock(), once=once)


@app.command()
def replay(
    *,
    from_: Annotated[str, typer.Option("--from", metavar="T", help="ISO 8601 in UTC, or for example -15m.")],
    to: Annotated[str, typer.Option("--to", metavar="T", help="The same, or now.")] = "now",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's sources.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric, as delivered; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    ship: Annotated[
        bool, typer.Option("--ship", help="Deliver the window's whole minutes to the tenant instead of showing it.")
    ] = False,
) -> None:
    """Show or deliver a window of the flight recorder at full resolution; the agent may run or not."""
    from collectors_dagster.agent import replay as recorder
    from collectors_dagster.records import Window

    if as_json + as_csv + ship > 1:
        raise typer.BadParameter("--json, --csv and --ship exclude each other")
    clock = SystemClock()
    now = clock.now()
    window = Window(recorder.instant(from_, now), recorder.instant(to, now))
    if window.start >= window.end:
        raise typer.BadParameter(f"--from {from_} is not before --to {to}")
    chosen = recorder.Replay(load_settings(), recorder.Wanted(window, tenant, tuple(metric or ())), clock)
    if ship:
        typer.echo(f"{chosen.ship()} values delivered that were not there yet")
        return
    if as_csv:
        typer.echo(recorder.CSV_HEADER)
    line = recorder.json_line if as_json else recorder.csv_line if as_csv else recorder.table_line
    shown = 0
    for sample in chosen.samples():
        typer.echo(line(sample))
        shown += 1
    if not shown:
        typer.echo(f"nothing was recorded from {window.start.isoformat()} to {window.end.isoformat()}", err=True)
        raise typer.Exit(1)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole status as JSON.")] = False,
) -> None:
    """Say how the agent of this home is doing."""
    from collectors_dagster.agent.status import is_alive, read_status, status_lines, status_path

    found = read_status(status_path(load_settings().home))
    now = SystemClock().now()
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(status_lines(found, now)))
    if not is_alive(found, now):
        raise typer.Exit(1)


@app.command()
def catalogue(
    as_json: Annotated[bool, typer.Option("--json", help="Print names, units and mappings as JSON.")] = False,
) -> None:
    """List every metric that the collectors know, with its unit and meaning."""
    from collectors_dagster.agent.catalogue import catalogue as entries

    if as_json:
        typer.echo(json.dumps([entry.as_json() for entry in entries()], indent=2))
        return
    for entry in entries():
        metric = entry.metric
        typer.echo(f"{entry.collector:10} {metric.name:42} {metric.kind:8} {metric.unit:17} {metric.help}")


@app.command()
def bench(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to sample.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what sampling costs on this host, in all and by collector. Needs no agent and disturbs none."""
    from collectors_dagster.agent.measuring import measure
    from collectors_dagster.collectors.protocol import Host

    settings, clock = load_settings(), SystemClock()
    host = Host(clock, settings.agent.proc_root, settings.agent.sys_root)
    found = measure(host, clock, seconds=seconds, interval_seconds=settings.agent.sample_interval_seconds)
    typer.echo(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(found.lines()))


@quarantine.command("list")
def list_batches(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what is in quarantine, and why."""
    kept = _opening()
    rows = [_described(kept, name) for name in kept.names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['name']}  {row['tenant']}  {row['samples']} samples  {row['at']}\n    {row['reason']}")
    if not rows:
        typer.echo("Nothing is in quarantine.")


@quarantine.command()
def retry(names: Names = None, every: All = False) -> None:
    """Deliver batches again, once what was wrong is put right; those that are stored leave the quarantine."""
    from collectors_dagster.agent.quarantine import again
    from collectors_dagster.integrations.timescale import DeliveryStore

    kept, failed = _opening(), False
    with DeliveryStore(load_settings().database_conninfo(), application_name="collectors-quarantine") as store:
        for name in _chosen(kept, names, every=every):
            try:
                held = kept.read(name)
                result = store.deliver(again(held.batch, held.reason))
            except CollectorsError as error:
                typer.echo(f"{name}: {error}", err=True)
                failed = True
            else:
                kept.remove(name)
                typer.echo(f"{name}: {result.rows} rows stored, {result.duplicates} were there already")
    if failed:
        raise typer.Exit(1)


@quarantine.command()
def drop(names: Names = None, every: All = False) -> None:
    """Forget batches for good; of those that are encrypted, without their key too."""
    kept = _kept()
    for name in _chosen(kept, names, every=every):
        kept.remove(name)
        typer.echo(f"{name}: dropped")


def _opening() -> "Quarantine":
    """Return the quarantine with the keys to what is encrypted in it."""
    from collectors_dagster.security.sealing import load_sealer

    agent = load_settings().agent
    return _kept(load_sealer(agent.spool_keys, agent.spool_keys_file))


def _kept(sealer: "Sealer | None" = None) -> "Quarantine":
    from collectors_dagster.agent.identity import spool_root
    from collectors_dagster.agent.quarantine import Quarantine, quarantine_directory

    settings = load_settings()
    return Quarantine(quarantine_directory(spool_root(settings.home)), settings.agent.quarantine_max_bytes, sealer)


def _chosen(kept: "Quarantine", names: list[str] | None, *, every: bool) -> list[str]:
    if every == bool(names):
        raise typer.BadParameter("name batches, or say --all")
    return kept.names() if every else list(names or ())


def _described(kept: "Quarantine", name: str) -> dict[str, object]:
    try:
        found = kept.read(name)
    except SpoolError as error:
        return {"name": name, "tenant": "?", "samples": 0, "at": "?", "reason": str(error)}
    return {
        "name": name,
        "tenant": found.batch.tenant_id,
        "samples": len(found.batch.samples),
        "at": found.at.isoformat(),
        "bytes": found.size,
        "reason": found.reason,
    }
