"""`collectors metrics`: what the policies of all processes have counted, for Prometheus."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="Where to listen; by default metrics.address.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; by default ports.metrics.")] = None,
) -> None:
    """Serve /metrics until Ctrl-C or SIGTERM, beside the scorer or in its place."""
    import signal
    import threading

    from collectors_dagster.config import load_settings
    from collectors_dagster.errors import StartupError
    from collectors_dagster.integrations.redis import look_around
    from collectors_dagster.monitoring.resilience_metrics import started_metrics

    settings = load_settings()
    asked = (address or settings.metrics.address, port or settings.ports.metrics)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        end = started_metrics(asked, lambda: look_around(settings))
    except OSError as error:
        raise StartupError(
            f"cannot serve metrics on {asked[0]}:{asked[1]}: {error.strerror}; the scorer of this machine may do it "
            "already (metrics.enabled): choose another --port"
        ) from error
    typer.echo(f"http://{asked[0]}:{asked[1]}/metrics")
    stop.wait()
    end()


@app.command()
def show() -> None:
    """Print the metrics once."""
    from prometheus_client import CollectorRegistry, generate_latest

    from collectors_dagster.config import load_settings
    from collectors_dagster.integrations.redis import look_around
    from collectors_dagster.monitoring.resilience_metrics import ResilienceCollector

    settings = load_settings()
    registry = CollectorRegistry()
    registry.register(ResilienceCollector(lambda: look_around(settings)))
    typer.echo(generate_latest(registry).decode(), nl=False)
