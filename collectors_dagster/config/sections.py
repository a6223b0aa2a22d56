"""The groups of settings: one class per group, one line per setting."""

import ipaddress
import re
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from collectors_dagster.config.fields import Section, section, setting
from collectors_dagster.config.policy_sections import (
    BUILT_IN,
    Bulkhead,
    Cache,
    CircuitBreaker,
    Leadership,
    RateLimiter,
    Retry,
    ServiceName,
    ServiceOverrides,
    ServicePolicies,
    merged,
)
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.config.spotify_addresses import checked_client_id, checked_redirect_uri, checked_service_url
from collectors_dagster.errors import ConfigurationError

DebuggableComponent = Literal["agent", "scorer", "supervisor", "runs"]
"""Processes that can measure themselves while they run; `runs` are Dagster's, each of which looks when it starts."""

S = TypeVar("S", bound=Section)

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|/[^\s\x00?#]+")
_SENSITIVE = re.compile(r"(?:(?:\*|[a-z][a-z0-9_]*)\.)?[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-z][a-z0-9_]*")
_PREFIX = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_SCOPE = re.compile(r"[a-z][a-z-]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


def checked_url(value: str) -> str:
    """Return `value` if it is an http(s) address without a user name or password in it."""
    if "@" in urlsplit(checked_address(value)).netloc:
        raise ValueError("it must not hold a user name or password: it is shown to people")
    return value


def checked_address(value: str) -> str:
    """Return `value` if it is an http(s) address."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not value.isprintable() or " " in value:
        raise ValueError("it must be an address like https://host:port/path")
    return value


def checked_host(value: str) -> str:
    """Return `value` if it names a host: an IP address, a host name or, for PostgreSQL, a socket directory."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST.fullmatch(value):
            raise ValueError("it must be a host name or an IP address") from None
    return value


class Ports(Section):
    """Ports of the local stack's own servers."""

    postgres: int = setting(15432, unit="port", about="Embedded PostgreSQL.", at_least=1, at_most=65535)
    redis: int = setting(16379, unit="port", about="Embedded Redis.", at_least=1, at_most=65535)
    code_server: int = setting(14000, unit="port", about="Dagster code server.", at_least=1, at_most=65535)
    webserver: int = setting(13000, unit="port", about="Dagster web UI.", at_least=1, at_most=65535)
    mlflow: int = setting(15000, unit="port", about="MLflow server.", at_least=1, at_most=65535)
    agent: int = setting(19100, unit="port", about="The agent's metrics and health.", at_least=1, at_most=65535)
    metrics: int = setting(19101, unit="port", about="Metrics of the policies.", at_least=1, at_most=65535)

    spotify_sandbox: int = setting(
        18888, unit="port", about="The local Spotify with invented data.", at_least=1, at_most=65535
    )

    @model_validator(mode="after")
    def _no_port_twice(self) -> Self:
        owners: dict[int, str] = {}
        for name, port in self:
            if port in owners:
                raise ValueError(f"{owners[port]} and {name} have the same port {port}")
            owners[port] = name
        return self


class Postgres(Section):
    """The database. Without a host, the embedded server is used and the rest of this section is not read."""

    host: str | None = setting(None, unit="host name or address", about="External server; empty: the embedded one.")
    port: int = setting(5432, unit="port", about="Port of the external server.", at_least=1, at_most=65535)
    db: str = setting("collectors", unit="", about="Database of the collected data.")
    dagster_db: str = setting("dagster", unit="", about="Database of Dagster's runs and events.")
    mlflow_db: str = setting("mlflow", unit="", about="Database of MLflow's runs and models.")
    user: str = setting("collectors", unit="", about="Role to connect as.")
    password: SecretStr | None = setting(None, unit="", about="Password of the role.")
    account: str | None = setting(
        None,
        unit="",
        about="Account the embedded server steps down to under root; empty: collectors, postgres, nobody.",
    )
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = setting(
        None,
        unit="",
        about="How the connection is encrypted, in libpq's words; empty: verify-full, or prefer on this machine.",
    )
    sslrootcert: Path | None = setting(
        None,
        unit="absolute",
        about="PEM file of the authorities that may sign the server's certificate; empty: those this machine trusts.",
    )
    ssl_min_protocol_version: Literal["TLSv1.2", "TLSv1.3"] = setting(
        "TLSv1.3", unit="", about="The oldest TLS that is spoken with the server."
    )

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        return None if value is None else checked_host(value)

    @field_validator("sslrootcert")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("it must be an absolute path: its readers have different working directories")
        return value

    @field_validator("db", "dagster_db", "mlflow_db", "user")
    @classmethod
    def _identifier(cls, value: str) -> str:
        if not _IDENTIFIER.fullmatch(value):
            raise ValueError("it must be letters, digits, _ and -, at most 63 of them, not starting with a digit")
        return value


class Redis(Section):
    """Shared state. Without a host and a URL, the embedded server is used, and only prefix and time-outs are read."""

    url: SecretStr | None = setting(
        None,
        unit="",
        about="External server, Sentinels or cluster in one URL, in the place of host, port, user, password and tls.",
    )
    host: str | None = setting(None, unit="host name or address", about="External server; empty: the embedded one.")
    port: int = setting(6379, unit="port", about="Port of the external server.", at_least=1, at_most=65535)
    user: str | None = setting(None, unit="", about="ACL user to connect as; empty: the default user.")
    password: SecretStr | None = setting(None, unit="", about="Password of the server, or of the user.")
    sentinel_password: SecretStr | None = setting(None, unit="", about="Password of the Sentinels themselves.")
    tls: bool = setting(default=False, unit="", about="Encrypt the connection to redis.host; a URL says rediss.")
    tls_verify: bool = setting(
        default=True, unit="", about="Check the server's certificate and that its name is the host's."
    )
    tls_ca_file: Path | None = setting(
        None, unit="absolute path", about="Certificates that vouch for the server; empty: the system's."
    )
    tls_cert_file: Path | None = setting(None, unit="absolute path", about="Certificate that we show to the server.")
    tls_key_file: Path | None = setting(None, unit="absolute path", about="Private key of that certificate.")
    prefix: str = setting(
        "collectors:", unit="", about="Stands before each key; deployments that share a Redis need one each."
    )
    connect_timeout_seconds: float = setting(
        0.05, unit="seconds", about="Time for a connection; then everybody decides alone.", at_least=0.001, at_most=5
    )
    answer_timeout_seconds: float = setting(
        0.05, unit="seconds", about="Time for an answer; then everybody decides alone.", at_least=0.001, at_most=5
    )

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        return None if value is None else checked_host(value)

    @field_validator("url")
    @classmethod
    def _url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parse_address(value.get_secret_value())
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if not _PREFIX.fullmatch(value):
            raise ValueError("it must be 1 to 100 letters, digits and _ . : / -")
        return value

    @field_validator("tls_ca_file", "tls_cert_file", "tls_key_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("it must be an absolute path: processes start from different directories")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.url is not None and self.host is not None:
            raise ValueError("url and host both name the server: remove one")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file belong together: set both or none")
        return self


class Spotify(Section):
    """The application registered with Spotify, and where the service is."""

    client_id: str | None = setting(None, unit="", about="Client id of the application.")
    client_secret: SecretStr | None = setting(None, unit="", about="Client secret of the application.")
    accounts_url: str = setting(
        "https://accounts.spotify.com", unit="URL", about="The accounts service: https, or http on this machine."
    )
    api_url: str = setting(
        "https://api.spotify.com/v1", unit="URL", about="The Web API: https, or http on this machine."
    )
    redirect_uri: str = setting(
        "http://127.0.0.1/callback",
        unit="URL",
        about="Where a user's consent comes back to: registered with the application; without a port, any free one.",
    )
    scopes: tuple[str, ...] = setting(
        (
            "user-library-read",
            "user-follow-read",
            "user-top-read",
            "user-read-recently-played",
            "user-read-private",
            "playlist-read-private",
            "playlist-read-collaborative",
        ),
        unit="",
        about="What users are asked to allow.",
    )
    token_keys: SecretStr | None = setting(
        None,
        unit="",
        about="Keys that encrypt tokens in the database, 32 bytes in base64 each, the present one first.",
    )
    token_keys_file: Path | None = setting(
        None, unit="absolute path", about="The same in a file that only its owner may read."
    )
    rate_limit: int = setting(
        0,
        unit="requests",
        about="Requests that Spotify takes from the developer account in a window; 0: not known, it is learned.",
        at_least=0,
        at_most=10_000,
    )
    rate_window_seconds: float = setting(
        30.0, unit="seconds", about="Length of Spotify's rolling window.", at_least=0.1, at_most=3600
    )
    rate_guess: int = setting(
        60,
        unit="requests",
        about="Requests in a window that all processes share while Redis is away and no limit is known.",
        at_least=1,
        at_most=10_000,
    )
    in_flight: int = setting(
        8, unit="requests", about="Requests of one client under way at once.", at_least=1, at_most=32
    )

    @field_validator("client_id")
    @classmethod
    def _client_id(cls, value: str | None) -> str | None:
        return None if value is None else checked_client_id(value)

    @field_validator("accounts_url", "api_url")
    @classmethod
    def _service(cls, value: str) -> str:
        return checked_service_url(checked_url(value))

    @field_validator("redirect_uri")
    @classmethod
    def _redirect(cls, value: str) -> str:
        return checked_redirect_uri(checked_url(value))

    @field_validator("scopes", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """Split text, which is all that an environment variable can be."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("scopes")
    @classmethod
    def _scope_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _SCOPE.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is no scope; write e.g. user-library-read")
        return value

    @field_validator("token_keys_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("it must be an absolute path: processes start from different directories")
        return value


class SpotifySandbox(Section):
    """The local Spotify with invented data, for tenants whose file says `sources.spotify.sandbox`."""

    mode: Literal["extended", "development"] = setting(
        "extended", unit="", about="Quota mode: what new applications get from Spotify is development."
    )
    requests: int = setting(
        60, unit="requests", about="Requests that it takes in a window.", at_least=1, at_most=1_000_000
    )
    window_seconds: float = setting(30.0, unit="seconds", about="Its rolling window.", at_least=0.1, at_most=86_400)
    seed: int = setting(1, unit="number", about="Another number, another world.", at_least=0, at_most=2**31)


class Mlflow(Section):
    """The model registry."""

    tracking_uri: str = setting("", unit="URL", about="External MLflow server; empty: the local one.")
    promotion: Literal["gate", "shadow", "review"] = setting(
        "gate",
        unit="",
        about="When a version that passes its gate serves: at once, after its shadow days, or when a person says so.",
    )
    shadow_days: int = setting(
        3, unit="days", about="Days on which a challenger is tried beside the champion.", at_least=1, at_most=14
    )
    kept_versions: int = setting(
        20,
        unit="versions",
        about="Newest versions kept per model; others only with an alias.",
        at_least=3,
        at_most=1000,
    )

    @field_validator("tracking_uri")
    @classmethod
    def _url(cls, value: str) -> str:
        return value and checked_url(value)


class Prices(Section):
    """What things cost, for advice that says what it saves. Without a price, no saving is said."""

    currency: str = setting("EUR", unit="ISO 4217", about="Currency of the prices.")
    cpu_month: float | None = setting(
        None, unit="currency per month", about="A processor for a month.", at_least=0, at_most=100_000
    )

    @field_validator("currency")
    @classmethod
    def _code(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", value):
            raise ValueError("it must be three capital letters, as ISO 4217 has them, e.g. EUR")
        return value


class Strategies(Section):
    """What is done before something happens."""

    peak_alerts: bool = setting(
        default=False,
        unit="",
        about="Tell tenants before a processor peak that even the lower end of the 80 % interval puts above 80 %.",
    )


class Dagster(Section):
    """How runs are cut and shown."""

    batch_size: int = setting(
        50, unit="tenants", about="Tenants that share one scheduled run.", at_least=1, at_most=100
    )
    webserver_url: str = setting("", unit="URL", about="Address people use for the web UI; empty: the local one.")
    partition_days: int = setting(
        30, unit="days", about="How far back daily partitions reach.", at_least=1, at_most=366
    )

    @field_validator("webserver_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return value and checked_url(value)


class SystemPerformance(Section):
    """Host performance: what holds for a tenant whose file does not say otherwise."""

    enabled: bool = setting(default=True, unit="", about="Collect host performance for tenants by default.")
    collection_interval: float = setting(
        10.0, unit="seconds", about="Resolution in the database.", at_least=1, at_most=3600
    )
    ml_enabled: bool = setting(default=True, unit="", about="Train models and score by default.")
    anomaly_threshold: float = setting(
        0.9, unit="score", about="Score from which a minute is anomalous.", at_least=0.5, at_most=1
    )
    max_series: int = setting(
        2000,
        unit="series",
        about="Series stored per tenant and host, maxima included; further ones are refused and counted.",
        at_least=1,
        at_most=100_000,
    )


class Collectors(Section):
    """Sources of metrics."""

    system_performance: SystemPerformance = section(SystemPerformance, "Host performance.")


class Patterns(Section):
    """Policies for calls to other systems."""

    circuit_breaker: CircuitBreaker = section(CircuitBreaker, "When to stop calling.")
    rate_limiter: RateLimiter = section(RateLimiter, "How fast to call.")
    cache: Cache = section(Cache, "What to call only once.")
    retry: Retry = section(Retry, "How to repeat.")
    bulkhead: Bulkhead = section(Bulkhead, "How many at once.")
    deadline_seconds: float = setting(
        60.0,
        unit="seconds",
        about="Time for one call with its repetitions; 0: none.",
        at_least=0,
        at_most=86_400,
    )
    leadership: Leadership = section(Leadership, "Who leads, and who has which tenants.")
    services: dict[ServiceName, ServiceOverrides] = setting(
        {}, unit="", about="What is different for one service: timescaledb, mlflow, spotify, notifications."
    )

    def of(self, service: ServiceName) -> ServicePolicies:
        """Return what holds for a service.

        Raises
        ------
        ValueError
            If the keys that are set for it cannot work with those for all.
        """
        known = BUILT_IN[service]
        own = self.services.get(service, ServiceOverrides())

        def complete(kind: type[S], name: str) -> S:
            try:
                return merged(kind, getattr(self, name), getattr(known, name), getattr(own, name))
            except ValueError as error:
                raise ValueError(f"services.{service}.{name}: {error}") from None

        limited = {"rate_limiter"} & (known.model_fields_set | own.model_fields_set)
        deadline = next(
            (each.deadline_seconds for each in (own, known) if "deadline_seconds" in each.model_fields_set), None
        )
        return ServicePolicies(
            circuit_breaker=complete(CircuitBreaker, "circuit_breaker"),
            rate_limiter=complete(RateLimiter, "rate_limiter") if limited else None,
            retry=complete(Retry, "retry"),
            bulkhead=complete(Bulkhead, "bulkhead"),
            deadline_seconds=self.deadline_seconds if deadline is None else deadline,
        )

    @model_validator(mode="after")
    def _possible_for_each(self) -> Self:
        for service in BUILT_IN:
            self.of(service)
        return self


class Agent(Section):
    """The sampler on each host."""

    sample_interval_seconds: float = setting(
        1.0, unit="seconds", about="Pause between two looks at the host.", at_least=0.1, at_most=60
    )
    flight_recorder_hours: float = setting(
        24.0, unit="hours", about="How long the full resolution stays on the host.", at_least=0, at_most=168
    )
    flight_recorder_max_bytes: int = setting(
        96 * 1024**2,
        unit="bytes",
        about="Size of what is delivered already at which its oldest give way.",
        at_least=1024**2,
        at_most=1024**4,
    )
    incident_minutes_before: float = setting(
        5.0, unit="minutes", about="Full resolution delivered from before an incident.", at_least=0, at_most=1440
    )
    incident_minutes_after: float = setting(
        5.0, unit="minutes", about="Full resolution delivered from after an incident.", at_least=0, at_most=1440
    )
    incident_minutes_most: float = setting(
        60.0, unit="minutes", about="Full resolution delivered at most per incident; 0: none.", at_least=0, at_most=1440
    )
    spool_max_bytes: int = setting(
        96 * 1024**2,
        unit="bytes",
        about="Size of what is not delivered yet at which its oldest are thinned, then dropped.",
        at_least=1024**2,
        at_most=1024**4,
    )
    spool_max_hours: float = setting(
        168.0, unit="hours", about="Age at which what is not delivered yet is dropped.", at_least=1, at_most=8760
    )
    spool_keys: SecretStr | None = setting(
        None, unit="", about="Keys that encrypt the spool, 32 bytes in base64 each, the present one first."
    )
    spool_keys_file: Path | None = setting(
        None, unit="absolute path", about="The same in a file that only its owner may read."
    )
    spool_encryption: Literal["all", "sensitive"] = setting(
        "all", unit="", about="What the keys encrypt: everything in the spool, or only what agent.sensitive names."
    )
    sensitive: tuple[str, ...] = setting(
        (),
        unit="",
        about="Sources, metrics and labels (source.label, *.label) whose series the spool keeps only encrypted.",
    )
    spool_compression: Literal["auto", "none", "gzip", "lz4", "zstd"] = setting(
        "auto",
        unit="",
        about="Codec of closed minutes; auto measures, gzip first, and loads others only if they could win.",
    )
    fsync_interval_seconds: float = setting(
        5.0, unit="seconds", about="Data a power cut may take from the spool.", at_least=0, at_most=60
    )
    busiest_processes: int = setting(
        5,
        unit="groups",
        about="Groups of processes that are followed for their processor time, and as many for their memory.",
        at_least=0,
        at_most=50,
    )
    quarantine_max_bytes: int = setting(
        16 * 1024**2,
        unit="bytes",
        about="Size of the quarantine at which the oldest refused batches give way.",
        at_least=64 * 1024,
        at_most=1024**4,
    )
    endpoint_enabled: bool = setting(default=True, unit="", about="Serve /metrics and /health on ports.agent.")
    endpoint_address: str = setting(
        "127.0.0.1",
        unit="host name or address",
        about="Where /metrics and /health listen: loopback, or an address of the network that scrapes.",
    )
    proc_root: Path = setting(
        Path("/proc"), unit="absolute", about="Where the host's procfs is mounted; in a container /host/proc."
    )
    sys_root: Path = setting(
        Path("/sys"), unit="absolute", about="Where the host's sysfs is mounted; in a container /host/sys."
    )

    @field_validator("endpoint_address")
    @classmethod
    def _endpoint_address(cls, value: str) -> str:
        if value.startswith("/"):
            raise ValueError("it must be a host name or an IP address")
        return checked_host(value)

    @field_validator("proc_root", "sys_root")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("it must be an absolute path, e.g. /host/proc")
        return value

    @field_validator("sensitive", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """Split text, which is all that an environment variable can be."""
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("sensitive")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _SENSITIVE.fullmatch(name):
                raise ValueError(f"{name!r} is no source, metric or label; write e.g. process, load1 or process.user")
        return value

    @field_validator("spool_keys_file")
    @classmethod
    def _absolute_keys_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("it must be an absolute path: the agent may be started from anywhere")
        return value


class MetricsExport(Section):
    """Metrics of the policies of all processes, for Prometheus."""

    enabled: bool = setting(default=True, unit="", about="Let the scorer serve /metrics on ports.metrics.")
    address: str = setting(
        "127.0.0.1",
        unit="host name or address",
        about="Where they are served: loopback, or an address of the network that scrapes.",
    )

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        if value.startswith("/"):
            raise ValueError("it must be a host name or an IP address")
        return checked_host(value)


class Scorer(Section):
    """The resident scorer."""

    tick_seconds: float = setting(
        5.0, unit="seconds", about="Pause between two looks at new minutes.", at_least=1, at_most=10
    )


class RetentionDefaults(Section):
    """How long data stay for a tenant whose file does not say otherwise."""

    raw_days: int = setting(7, unit="days", about="Samples at full resolution.", at_least=1, at_most=3650)
    hourly_days: int = setting(400, unit="days", about="Hourly aggregates.", at_least=1, at_most=36500)
    agent_days: int = setting(  # at least a day longer than a spool can keep what is delivered
        30, unit="days", about="Agents that do not say any more that they live.", at_least=8, at_most=3650
    )


class Aggregates(Section):
    """What is computed of each hour and day beside count, sum, extremes and last value."""

    quantile_metrics: tuple[str, ...] = setting(
        (),
        unit="",
        about="Metrics whose hours and days get p50, p95 and p99, within 1 % of the value: `load1`, for example.",
    )

    @field_validator("quantile_metrics")
    @classmethod
    def _metric_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _METRIC.fullmatch(name):
                raise ValueError(f"{name!r} is no metric; write e.g. load1 or memory_available_bytes")
        return value


class Compression(Section):
    """When a chunk of samples is compressed; only TimescaleDB's full edition can."""

    after_hours: int = setting(
        6, unit="hours", about="Time after the end of a chunk before which it is left alone.", at_least=1, at_most=8760
    )
    quiet_hours: int = setting(
        2, unit="hours", about="Time without a write to it that makes it due.", at_least=1, at_most=720
    )
    patience_hours: int = setting(
        168, unit="hours", about="Time after its end at which it is due, written to or not.", at_least=1, at_most=8760
    )


class Log(Section):
    """Logs of all components."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", unit="", about="Least important line that is written."
    )
    max_bytes: int = setting(
        5_000_000, unit="bytes", about="Size at which a log file is rotated.", at_least=10_000, at_most=10**9
    )
    backups: int = setting(2, unit="files", about="Rotated files kept per component.", at_least=0, at_most=100)


class DebugSwitches(Section):
    """What one component measures of itself."""

    metrics: bool = setting(default=False, unit="", about="Log detailed metrics of the component.")
    profile: bool = setting(default=False, unit="", about="Profile it (pyinstrument) and keep the report.")
    memory: bool = setting(default=False, unit="", about="Track its memory allocations (tracemalloc).")


class Debug(Section):
    """Measuring a component (agent, scorer, supervisor, runs) while it runs: followed without a restart."""

    components: dict[DebuggableComponent, DebugSwitches] = setting(
        {}, unit="", about="Switches per component: agent, scorer, supervisor, runs."
    )

    def of(self, component: str) -> DebugSwitches:
        """Return the switches of a component, all off unless configured."""
        by_name: dict[str, DebugSwitches] = {str(name): switches for name, switches in self.components.items()}
        return by_name.get(component, DebugSwitches())
