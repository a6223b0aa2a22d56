"""What the local stack consists of: one function per component, in the order of the table."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from collectors_dagster import __version__
from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.config.spotify import uses_sandbox
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import StartupError
from collectors_dagster.security.secrets import read_or_create
from collectors_dagster.supervisor import dagster_process, postgres, probes, redis
from collectors_dagster.supervisor.component import Component, Ending, Launch, Probe, Running
from collectors_dagster.supervisor.dagster_home import dagster_environment, render_dagster_home
from collectors_dagster.supervisor.database_sessions import libpq_environment
from collectors_dagster.supervisor.home import Home

MARK = "COLLECTORS_SUPERVISED"
"""Every process of a stack carries its home in this variable: left-overs are found by it, never by name."""


_SILENT_SECONDS = 60.0
"""A resident process that has not told anything for so long is shown as not answering."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Builds the components from the settings."""

    settings: Settings
    clock: Clock

    @property
    def home(self) -> Home:
        """Where everything lies."""
        return Home(self.settings.home)

    def components(self) -> list[Component]:
        """Return all components that are ours: what the configuration names elsewhere is left out."""
        settings = self.settings
        build: list[Callable[[], Component]] = [
            *([self._postgres] if settings.postgres_embedded else []),
            *([self._redis] if settings.redis_embedded else []),
            self._migrations,
            *([self._mlflow] if settings.mlflow_embedded else []),
            self._code_server,
            self._webserver,
            self._daemon,
            self._agent,
            self._scorer,
            *([self._spotify_sandbox, self._spotify_consent] if uses_sandbox(load_tenants(settings).tenants) else []),
        ]
        return [make() for make in build]

    def check(self) -> None:
        """Find the servers' programs, the account that the database steps down to, and the secrets.

        Raises
        ------
        StartupError
            If one is missing.
        """
        if self.settings.postgres_embedded:
            postgres.find_place(self.settings.home, self.settings.postgres.account)
            self._passwords()
        if self.settings.redis_embedded:
            redis.find_server()
            self._secret("redis.password")

    def externals(self) -> dict[str, str]:
        """Return the addresses of the servers that take the place of a component of ours."""
        settings = self.settings
        found = {
            "postgres": "" if settings.postgres_embedded else f"{settings.postgres.host}:{settings.postgres.port}",
            "redis": "" if settings.redis_embedded else settings.redis_place,
            "mlflow": "" if settings.mlflow_embedded else settings.mlflow.tracking_uri,
        }
        return {name: address for name, address in found.items() if address}

    def _postgres(self) -> Component:
        settings = self.settings
        port = settings.ports.postgres
        return Component(
            name="postgres",
            prepare=self._prepare_postgres,
            answers=lambda _: probes.postgres_answers(settings.local_address, port),
            ready_seconds=120.0,  # after a crash it replays its log first
            ending=postgres.ENDING,
            ports={"postgres": port},
            address=f"{settings.local_address}:{port}",
            version=_if_found(lambda: postgres.version_of(postgres.find_binaries())),
            look_at="databases collectors, dagster, mlflow",
        )

    def _prepare_postgres(self) -> Launch:
        settings = self.settings
        place = postgres.find_place(settings.home, settings.postgres.account)
        listen = postgres.Listen(settings.bind_address, settings.ports.postgres)
        return postgres.EmbeddedPostgres(place, listen, self._passwords(), self._mark, self.clock).prepare()

    def _passwords(self) -> dict[str, str]:
        return {role: self._secret(f"{role}.password") for role in postgres.ROLES}

    def _redis(self) -> Component:
        settings = self.settings
        port = settings.ports.redis
        return Component(
            name="redis",
            prepare=self._prepare_redis,
            answers=lambda _: probes.redis_answers(settings.local_address, port, self._secret("redis.password")),
            ports={"redis": port},
            address=f"{settings.local_address}:{port}",
            version=_if_found(lambda: redis.version_of(redis.find_server())),
            look_at="shared state of policies",
        )

    def _prepare_redis(self) -> Launch:
        settings = self.settings
        place = settings.home / "redis"
        password = self._secret("redis.password")
        server = redis.EmbeddedRedis(redis.find_server(), place, settings.bind_address, settings.ports.redis, password)
        return self._marked(server.prepare())

    def _migrations(self) -> Component:
        return Component(
            name="migrations",
            prepare=lambda: self._ours("db", "migrate"),
            answers=lambda _: False,
            needs=("postgres",),
            one_shot=True,
            ready_seconds=300.0,
            version=__version__,
            look_at="collectors db status",
        )

    def _mlflow(self) -> Component:
        settings = self.settings
        return Component(
            name="mlflow",
            prepare=self._launch_mlflow,
            answers=lambda _: probes.page_answers(settings.local_address, settings.ports.mlflow, "/health"),
            needs=("postgres",),
            ready_seconds=180.0,  # the first start makes its tables
            ports={"mlflow": settings.ports.mlflow},
            address=settings.mlflow.tracking_uri,
            version=version("mlflow"),
            look_at="models, their plots and cards",
        )

    def _launch_mlflow(self) -> Launch:
        settings = self.settings
        directory = settings.home / "mlflow"
        directory.mkdir(exist_ok=True)
        words = ("server", "--host", settings.bind_address, "--port", str(settings.ports.mlflow), "--workers", "1")
        own = {
            "MLFLOW_BACKEND_STORE_URI": settings.sqlalchemy_url("mlflow").get_secret_value(),
            "MLFLOW_ARTIFACTS_DESTINATION": str(directory / "artifacts"),
            "MLFLOW_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "2",
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "13",
            **libpq_environment(settings, "mlflow"),
        }
        return self._python("-m", "mlflow", *words, environment=own, directory=directory)

    def _code_server(self) -> Component:
        settings = self.settings
        port = settings.ports.code_server
        words = ("api", "grpc", "--module-name", "collectors_dagster.definitions", "--host", settings.bind_address)
        more = ("--port", str(port), "--location-name", "collectors_dagster")
        return Component(
            name="code-server",
            prepare=lambda: self._dagster("code-server", "dagster", *words, *more),
            answers=lambda _: probes.accepts_connections(settings.local_address, port),
            needs=("migrations", "redis"),
            ports={"code_server": port},
            address=f"{settings.local_address}:{port}",
            version=__version__,
            look_at="the definitions that webserver and daemon share",
        )

    def _webserver(self) -> Component:
        settings = self.settings
        port = settings.ports.webserver
        words = ("--host", settings.bind_address, "--port", str(port), "--workspace", str(self._workspace))
        return Component(
            name="webserver",
            prepare=lambda: self._dagster("webserver", "dagster_webserver", *words),
            answers=lambda _: probes.page_answers(settings.local_address, port, "/server_info"),
            needs=("code-server",),
            ready_seconds=120.0,
            ports={"webserver": port},
            address=settings.dagster.webserver_url,
            version=version("dagster-webserver"),
            look_at="assets, runs, metadata",
        )

    def _daemon(self) -> Component:
        return Component(
            name="daemon",
            prepare=lambda: self._dagster("daemon", "dagster._daemon", "run", "--workspace", str(self._workspace)),
            answers=self._log_says("daemon", b"Instance is configured with the following daemons"),
            needs=("webserver",),  # the first of the two makes Dagster's tables: not both at once
            version=version("dagster"),
            look_at="schedules, sensors and queued runs",
        )

    def _agent(self) -> Component:
        settings = self.settings
        resident = self._resident("agent", needs=("migrations", "redis"), look_at="collectors agent top")
        if not settings.agent.endpoint_enabled:
            return resident
        address = f"{settings.agent_url}/metrics"
        ports = {"agent": settings.ports.agent}
        return replace(
            resident,
            ports=ports,
            address=address,
            listens_on=settings.agent.endpoint_address,
            address_setting=("agent", "endpoint_address"),
        )

    def _scorer(self) -> Component:
        settings = self.settings
        resident = self._resident(
            "scorer", needs=("migrations", "redis", "mlflow"), look_at="incidents, as they happen"
        )
        if settings.metrics_url is None:
            return resident
        return replace(
            resident,
            ports={"metrics": settings.ports.metrics},
            address=settings.metrics_url,
            listens_on=settings.metrics.address,
            address_setting=("metrics", "address"),
        )

    def _spotify_sandbox(self) -> Component:
        settings = self.settings
        port = settings.ports.spotify_sandbox
        return Component(
            name="spotify-sandbox",
            prepare=self._launch_spotify_sandbox,
            answers=lambda _: probes.page_answers("127.0.0.1", port, "/sandbox"),
            ports={"spotify_sandbox": port},
            listens_on="127.0.0.1",
            address=settings.spotify_sandbox_url,
            version=__version__,
            look_at="stands in for Spotify: INVENTED data",
        )

    def _launch_spotify_sandbox(self) -> Launch:
        chosen = self.settings.spotify_sandbox
        directory = self.settings.home / "spotify-sandbox"
        directory.mkdir(exist_ok=True)
        words = ("--port", str(self.settings.ports.spotify_sandbox), "--mode", chosen.mode, "--seed", str(chosen.seed))
        limit = ("--rate", f"{chosen.requests}/{chosen.window_seconds}")
        state = ("--state", str(directory / "state.json"))
        return self._python(
            "-m", "collectors_dagster.cli", "sandbox", "spotify", *words, *limit, *state, environment={}
        )

    def _spotify_consent(self) -> Component:
        return Component(
            name="spotify-consent",
            prepare=lambda: self._ours("sandbox", "connect"),
            answers=lambda _: False,
            needs=("migrations", "spotify-sandbox"),
            one_shot=True,
            version=__version__,
            look_at="collectors spotify accounts",
        )

    def _resident(self, name: str, *, needs: tuple[str, ...], look_at: str) -> Component:
        return Component(
            name=name,
            prepare=lambda: self._ours(name, "run"),
            answers=self._tells(name),
            needs=needs,
            ending=Ending(seconds=20.0),
            version=__version__,
            look_at=look_at,
        )

    @property
    def _workspace(self) -> Path:
        return self.settings.home / "dagster" / "workspace.yaml"

    def _log_says(self, name: str, sentence: bytes) -> Probe:
        log = self.home.log_of(name)
        return lambda running: probes.log_says(log, sentence, running.log_offset)

    def _tells(self, name: str) -> Probe:
        """Probe a process of ours by the file in which it tells about itself, again and again."""
        told = self.home.run / f"{name}.json"

        def answers(running: Running) -> bool:
            fresh = self.clock.now().timestamp() - _SILENT_SECONDS
            return probes.is_newer(told, max(running.started_at, fresh))

        return answers

    def _dagster(self, name: str, module: str, *words: str) -> Launch:
        render_dagster_home(self.settings)
        return self._python(
            "-m",
            dagster_process.__name__,
            module,
            *words,
            "--log-format",
            "json",
            environment=dagster_environment(self.settings, f"dagster-{name}"),
        )

    def _ours(self, *words: str) -> Launch:
        own = dagster_environment(self.settings, f"dagster-{words[0]}")
        return self._python("-m", "collectors_dagster.cli", *words, environment=own)

    def _python(self, *words: str, environment: dict[str, str], directory: Path = PROJECT_ROOT) -> Launch:
        inherited = dict(process_environment())
        paths = [str(PROJECT_ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
        known = location(self.settings) | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        return self._marked(Launch((sys.executable, *words), directory, inherited | known | environment))

    def _marked(self, launch: Launch) -> Launch:
        return replace(launch, environment={**launch.environment, **self._mark})

    @property
    def _mark(self) -> dict[str, str]:
        return {MARK: str(self.settings.home)}

    def _secret(self, name: str) -> str:
        return read_or_create(self.settings, name).get_secret_value()


def location(settings: Settings) -> dict[str, str]:
    """Return the variables by which another process finds the same settings."""
    return {
        "COLLECTORS_HOME": str(settings.home),
        "COLLECTORS_CONFIG_DIR": str(settings.config_dir),
        "COLLECTORS_ENVIRONMENT": settings.environment,
    }


def _if_found(version_of_server: Callable[[], str]) -> str:
    """Return a version, or nothing where the program is missing: who only asks for the state need not have it."""
    try:
        return version_of_server()
    except StartupError:
        return ""
