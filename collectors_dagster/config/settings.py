"""All settings of a process, complete and checked."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from pydantic import PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from collectors_dagster.config.documents import read_document
from collectors_dagster.config.encryption import encryption
from collectors_dagster.config.environment import document_names_layer, prefixed_layer, with_dotenv
from collectors_dagster.config.explanations import explain
from collectors_dagster.config.fields import Section, leaves, section, setting, type_at
from collectors_dagster.config.layers import Layer, document_layer, overrides_layer
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.config.sections import (
    Agent,
    Aggregates,
    Collectors,
    Compression,
    Dagster,
    Debug,
    Log,
    MetricsExport,
    Mlflow,
    Patterns,
    Ports,
    Postgres,
    Prices,
    Redis,
    RetentionDefaults,
    Scorer,
    Spotify,
    SpotifySandbox,
    Strategies,
    checked_host,
    checked_url,
)
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.errors import ConfigurationError

PROJECT_ROOT = Path(__file__).resolve().parents[2]

Environment = Literal["development", "staging", "production"]
ENVIRONMENTS: tuple[str, ...] = ("development", "staging", "production")
Database = Literal["collectors", "dagster", "mlflow"]

DECIDED_BEFORE_FILES = ("environment", "config_dir")
"""They decide which files are read, so no file can hold them."""

_DRIVERS: dict[str, str] = {"collectors": "psycopg", "dagster": "psycopg2", "mlflow": "psycopg2"}
_EVERY_INTERFACE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # recognised here so that nobody dials it


class Settings(BaseSettings, Section):
    """Every setting, from all layers; read it with :func:`load_settings`.

    The layers, the strongest first: command line, ``COLLECTORS__SECTION__KEY``, the original document's names,
    ``config/<environment>.yml``, ``config/base.yml``.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False, validate_default=True
    )

    environment: Environment = setting("development", unit="", about="Which file beside base.yml is read.")
    home: Path = setting(
        PROJECT_ROOT / ".collectors", unit="from the checkout, or absolute", about="Data directory of the local stack."
    )
    config_dir: Path = setting(
        PROJECT_ROOT / "config",
        unit="from the checkout, or absolute",
        about="Directory of the settings and tenant files.",
    )
    bind_address: str = setting(
        "127.0.0.1", unit="host name or address", about="Address on which the local stack's servers listen."
    )
    grafana_url: str | None = setting(None, unit="URL", about="Grafana, shown in `collectors status`.")
    prometheus_pushgateway: str | None = setting(
        None, unit="URL or host:port", about="Prometheus Pushgateway, shown in `collectors status`."
    )
    ports: Ports = section(Ports, "Ports of the local stack's own servers.")
    postgres: Postgres = section(Postgres, "The database.")
    redis: Redis = section(Redis, "Shared state.")
    spotify: Spotify = section(Spotify, "The application registered with Spotify.")
    spotify_sandbox: SpotifySandbox = section(SpotifySandbox, "The local Spotify with invented data.")
    mlflow: Mlflow = section(Mlflow, "The model registry.")
    prices: Prices = section(Prices, "What things cost, for advice that says what it saves.")
    strategies: Strategies = section(Strategies, "What is done before something happens.")
    dagster: Dagster = section(Dagster, "How runs are cut and shown.")
    collectors: Collectors = section(Collectors, "Sources of metrics.")
    patterns: Patterns = section(Patterns, "Policies for calls to other systems.")
    agent: Agent = section(Agent, "The sampler on each host.")
    scorer: Scorer = section(Scorer, "The resident scorer.")
    metrics: MetricsExport = section(MetricsExport, "Metrics of the policies of all processes.")
    retention: RetentionDefaults = section(RetentionDefaults, "How long data stay by default.")
    aggregates: Aggregates = section(Aggregates, "What is computed of each hour and day.")
    compression: Compression = section(Compression, "When a chunk of samples is compressed.")
    log: Log = section(Log, "Logs of all components.")
    debug: Debug = section(Debug, "Measuring a component while it runs.")

    _overrides: dict[str, Any] = PrivateAttr(default_factory=dict)

    @field_validator("home", "config_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return Path(os.path.normpath(PROJECT_ROOT / value.expanduser()))

    @field_validator("bind_address")
    @classmethod
    def _address(cls, value: str) -> str:
        return checked_host(value)

    @field_validator("grafana_url")
    @classmethod
    def _grafana(cls, value: str | None) -> str | None:
        return None if value is None else checked_url(value)

    @field_validator("prometheus_pushgateway")
    @classmethod
    def _pushgateway(cls, value: str | None) -> str | None:
        """Accept ``host:port`` too: that is how Prometheus' own clients name a gateway."""
        if value is None:
            return None
        return checked_url(value if "://" in value else f"http://{value}")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put our layers, which can name the place of each key, in the place of the library's."""
        del env_settings, dotenv_settings, file_secret_settings
        return tuple(_LayerSource(settings_cls, each) for each in _layers(init_settings()))

    @property
    def postgres_embedded(self) -> bool:
        """Whether our own PostgreSQL is used."""
        return self.postgres.host is None

    @property
    def redis_embedded(self) -> bool:
        """Whether our own Redis is used."""
        return self.redis.host is None and self.redis.url is None

    @property
    def redis_place(self) -> str:
        """Where Redis is, for people: servers and ports without credentials."""
        if self.redis_embedded:
            return f"{_bracketed(self.local_address)}:{self.ports.redis}"
        address = parse_address(self.redis_url().get_secret_value())
        return ",".join(f"{_bracketed(host)}:{port}" for host, port in address.nodes)

    @property
    def mlflow_embedded(self) -> bool:
        """Whether our own MLflow server is used."""
        return self.mlflow.tracking_uri == self._local_url(self.ports.mlflow)

    @property
    def local_address(self) -> str:
        """The address at which this machine reaches its own servers."""
        return "127.0.0.1" if self.bind_address in _EVERY_INTERFACE else self.bind_address

    @property
    def spotify_sandbox_url(self) -> str:
        """The local Spotify: its accounts service, and below ``/v1`` its Web API. It listens on this machine alone."""
        return f"http://127.0.0.1:{self.ports.spotify_sandbox}"

    @property
    def agent_url(self) -> str | None:
        """Where this machine's agent tells of itself; ``None`` if it does not."""
        address = self.agent.endpoint_address
        reached = "127.0.0.1" if address in _EVERY_INTERFACE else address
        return f"http://{_bracketed(reached)}:{self.ports.agent}" if self.agent.endpoint_enabled else None

    @property
    def metrics_url(self) -> str | None:
        """Where the scorer serves the metrics of the policies; ``None`` if it does not."""
        reached = "127.0.0.1" if self.metrics.address in _EVERY_INTERFACE else self.metrics.address
        return f"http://{_bracketed(reached)}:{self.ports.metrics}/metrics" if self.metrics.enabled else None

    def secret_path(self, name: str) -> Path:
        """Return where the generated secret `name` lies, e.g. ``<home>/secrets/collectors.password``."""
        return self.secret_directory / name

    @property
    def secret_directory(self) -> Path:
        """Where the generated secrets lie."""
        return self.home / "secrets"

    def database_conninfo(self, database: Database = "collectors") -> SecretStr:
        """Return the libpq URL of a database; it holds the password.

        Raises
        ------
        ConfigurationError
            If the embedded server's password does not exist yet.
        """
        return self._postgres_url("postgresql", database)

    def sqlalchemy_url(self, database: Database) -> SecretStr:
        """Return the SQLAlchemy URL of a database; it names its driver and holds the password."""
        return self._postgres_url(f"postgresql+{_DRIVERS[database]}", database)

    def database_encryption(self) -> dict[str, str]:
        """Return libpq's parameters for the encryption of connections to the database; none for the embedded server.

        Raises
        ------
        ConfigurationError
            If the server's certificate is to be verified and there is nothing to verify it against.
        """
        return {} if self.postgres.host is None else encryption(self.postgres, self.postgres.host)

    def redis_url(self) -> SecretStr:
        """Return the URL of Redis; it may hold a password.

        Raises
        ------
        ConfigurationError
            If the embedded server's password does not exist yet.
        """
        redis = self.redis
        if redis.url is not None:
            return redis.url
        if redis.host is None:
            password = self._generated_secret("redis.password")
            return _url("redis", ("", password), (self.local_address, self.ports.redis), "0")
        secret = redis.password.get_secret_value() if redis.password else None
        return _url("rediss" if redis.tls else "redis", (redis.user or "", secret), (redis.host, redis.port), "0")

    def external_links(self) -> dict[str, str]:
        """Return the addresses of systems that are not ours but that people want to open, by name."""
        links = {"grafana": self.grafana_url, "prometheus_pushgateway": self.prometheus_pushgateway}
        return {name: address for name, address in links.items() if address}

    def secret_values(self) -> tuple[str, ...]:
        """Return every secret among the settings, for redaction."""
        found = [_value_at(self, path) for path, _ in leaves(type(self)) if "<name>" not in path]
        if self.redis.url is not None:
            found.append(parse_address(self.redis.url.get_secret_value()).password)
        return tuple(each.get_secret_value() for each in found if isinstance(each, SecretStr))

    def reload(self) -> "Settings":
        """Read all layers again, with the same command line."""
        return load_settings(**self._overrides)

    def _postgres_url(self, scheme: str, database: Database) -> SecretStr:
        if self.postgres.host is None:
            password = self._generated_secret(f"{database}.password")
            return _url(scheme, (database, password), (self.local_address, self.ports.postgres), database)
        names = {"collectors": self.postgres.db, "dagster": self.postgres.dagster_db, "mlflow": self.postgres.mlflow_db}
        secret = self.postgres.password.get_secret_value() if self.postgres.password else None
        server = (self.postgres.host, self.postgres.port)
        parameters = urlencode(self.database_encryption(), quote_via=quote, safe="")
        query = f"?{parameters}" if parameters else ""
        return _url(scheme, (self.postgres.user, secret), server, names[database] + query)

    def _generated_secret(self, name: str) -> str:
        path = self.secret_path(name)
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"{path}: the local stack's password cannot be read: {reason}; `collectors up` creates it"
        )

    def _local_url(self, port: int) -> str:
        return f"http://{_bracketed(self.local_address)}:{port}"

    def _completed(self, overrides: dict[str, Any]) -> "Settings":
        """Fill in the addresses of the local servers and remember the command line."""
        tracking_uri = self.mlflow.tracking_uri or self._local_url(self.ports.mlflow)
        webserver_url = self.dagster.webserver_url or self._local_url(self.ports.webserver)
        completed = self.model_copy(
            update={
                "mlflow": self.mlflow.model_copy(update={"tracking_uri": tracking_uri}),
                "dagster": self.dagster.model_copy(update={"webserver_url": webserver_url}),
            }
        )
        completed._overrides = overrides  # noqa: SLF001  # our own copy, made one line above
        return completed


def load_settings(**overrides: Any) -> Settings:
    """Read, merge and check all layers.

    Parameters
    ----------
    **overrides
        The command line: top-level settings; a section is a mapping, e.g. ``ports={"postgres": 25432}``.

    Raises
    ------
    ConfigurationError
        With one line per problem: file and line (or variable), key, what is allowed, the nearest known name.
    """
    try:
        return Settings(**overrides)._completed(overrides)  # noqa: SLF001  # the second half of its constructor
    except ValidationError as error:
        found = error
    raise ConfigurationError("\n".join(explain(found, Settings, _finder(_layers(overrides)))))


def settings_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files that `settings` was read from, existing or not."""
    return (*_setting_files(settings.config_dir, settings.environment), settings.config_dir.parent / ".env")


class _LayerSource(PydanticBaseSettingsSource):
    """A layer as a source of the library, which merges them key by key."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Answer for one field; the merge asks for all at once instead."""
        return self._layer.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer.values)


def settings_from(layers: Sequence[Layer]) -> Settings:
    """Merge and check `layers`, the strongest first, and nothing else.

    Raises
    ------
    pydantic.ValidationError
        If a value is refused.
    """

    class Given(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_sources: Any, **_named: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_LayerSource(settings_cls, each) for each in layers)

    return Given()._completed({})  # noqa: SLF001  # the second half of its constructor


def all_layers(overrides: dict[str, Any], read_file: Callable[[Path, Path], Layer]) -> tuple[Layer, ...]:
    """Return all layers, the strongest first.

    Parameters
    ----------
    read_file : callable
        Returns the layer of a file in the directory of settings; both are given.
    """
    config_dir = _config_dir(overrides)
    environment = with_dotenv(process_environment(), config_dir.parent / ".env")
    variables = prefixed_layer(environment, Settings)
    name = str(overrides.get("environment") or variables.values.get("environment") or "development")
    return (
        overrides_layer(overrides),
        variables,
        document_names_layer(environment, Settings),
        *_file_layers(config_dir, name, read_file),
    )


def _layers(overrides: dict[str, Any]) -> tuple[Layer, ...]:
    return all_layers(overrides, _file_layer)


def _config_dir(overrides: dict[str, Any]) -> Path:
    named = prefixed_layer(process_environment(), Settings).values.get("config_dir")
    config_dir = Path(
        os.path.normpath(PROJECT_ROOT / Path(overrides.get("config_dir") or named or "config").expanduser())
    )
    if not config_dir.is_dir():
        raise ConfigurationError(
            f"{config_dir}: there is no such directory of settings; set COLLECTORS_CONFIG_DIR or create it"
        )
    return config_dir


def _setting_files(config_dir: Path, environment: str) -> tuple[Path, ...]:
    return (config_dir / f"{environment}.yml", config_dir / "base.yml")


def _file_layers(config_dir: Path, environment: str, read_file: Callable[[Path, Path], Layer]) -> list[Layer]:
    if environment not in ENVIRONMENTS:
        return []  # the field itself refuses the name and lists the allowed ones
    files = [path for path in _setting_files(config_dir, environment) if path.exists()]
    return [read_file(path, config_dir) for path in files]


def _file_layer(path: Path, config_dir: Path) -> Layer:
    document = read_document(path, shown_path(path, config_dir))
    for key in DECIDED_BEFORE_FILES:
        if key in document.values:
            raise ConfigurationError(
                f"{document.place((key,))}: {key} decides which files are read, so no file can hold it; "
                f"set COLLECTORS_{key.upper()}"
            )
    return document_layer(document, Settings)


def shown_path(path: Path, config_dir: Path) -> str:
    """Name a file of the configuration shortly: ``config/base.yml``."""
    return path.relative_to(config_dir.parent).as_posix()


def _finder(layers: tuple[Layer, ...]) -> Any:
    def place(path: Any) -> str:
        while path and type_at(Settings, path[:-1]) is None:
            path = path[:-1]
        holder = next((each for each in layers if path and each.holds(path)), None)
        return holder.place(path) if holder else "settings"

    return place


def _value_at(settings: Settings, path: tuple[str, ...]) -> object:
    value: object = settings
    for step in path:
        value = getattr(value, step)
    return value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _url(scheme: str, login: tuple[str, str | None], server: tuple[str, int], database: str) -> SecretStr:
    user, password = login
    credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    host = quote(server[0], safe="") if server[0].startswith("/") else _bracketed(server[0])
    at = "@" if credentials else ""
    return SecretStr(f"{scheme}://{credentials}{at}{host}:{server[1]}/{database}")


__all__ = ["ENVIRONMENTS", "PROJECT_ROOT", "Database", "Environment", "Settings", "load_settings", "settings_files"]
