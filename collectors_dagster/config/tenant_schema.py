"""The shape of a tenant file, strict: whatever passes here is a valid tenant."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from collectors_dagster.config.documents import KeyPath
from collectors_dagster.config.explanations import explain, nearest
from collectors_dagster.config.fields import Section, section, setting
from collectors_dagster.config.sections import checked_address
from collectors_dagster.config.spotify_addresses import checked_client_id
from collectors_dagster.errors import ConfigurationError, TenantIsolationError
from collectors_dagster.scopes import ProcessSelector, Scope, checked_cgroup_pattern
from collectors_dagster.tenants import SLOWEST_SECONDS, Sampling, SystemSource, Tier, checked_tenant_id

KNOWN_COLLECTORS: tuple[str, ...] = SystemSource().collectors

_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\x00]+")


def checked_label(value: str) -> str:
    """Return `value` if it is a short plain name."""
    if not _LABEL.fullmatch(value):
        raise ValueError("it must be 1 to 40 lower-case letters, digits, - and _")
    return value


Label = Annotated[str, AfterValidator(checked_label)]


class _TenantSection(Section):
    """Part of a tenant file. Strict: a number in quotes is a mistake, not a number."""

    model_config = ConfigDict(strict=True)


CgroupPattern = Annotated[str, AfterValidator(checked_cgroup_pattern)]


class ProcessChoice(_TenantSection):
    """Processes that have all of these properties."""

    user: str | None = setting(None, unit="", about="Their user: its name, or its number where it has none.")
    executable: str | None = setting(
        None, unit="", about="The kernel's short name of their program (`ps -o comm`); may hold `*`, `?` and `[...]`."
    )
    cgroup: CgroupPattern | None = setting(
        None, unit="", about="The cgroup they run in or below, e.g. a container's; may hold `*`, `?` and `[...]`."
    )

    @field_validator("user")
    @classmethod
    def _user_name(cls, value: str | None) -> str | None:
        if value is not None and not _USER.fullmatch(value):
            raise ValueError("it must be the name or the number of one user; patterns are not allowed here")
        return value

    @field_validator("executable")
    @classmethod
    def _short_name(cls, value: str | None) -> str | None:
        if value is not None and not (0 < len(value) <= 60 and value.isprintable() and value.strip("*")):
            raise ValueError("it must be 1 to 60 printable characters, not only *, e.g. postgres or python3*")
        return value

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if self.user is None and self.executable is None and self.cgroup is None:
            raise ValueError("it selects nothing; name a user, an executable or a cgroup")
        return self

    @property
    def chosen(self) -> ProcessSelector:
        """What the agent works with."""
        return ProcessSelector(user=self.user, executable=self.executable, cgroup=self.cgroup)


MOST_SELECTORS = 50


class ScopeChoice(_TenantSection):
    """The part of a host that this tenant observes; left out, all of it."""

    host: bool | None = setting(
        None, unit="", about="All of the host; left out: true unless cgroups or processes are named."
    )
    cgroups: Annotated[tuple[CgroupPattern, ...], Field(strict=False)] = setting(
        (),
        unit="",
        about="Cgroups and the processes in them, e.g. `/system.slice/shop-*.service`; `/**` at the end: all below.",
    )
    processes: Annotated[tuple[ProcessChoice, ...], Field(strict=False)] = Field(
        default=(), description="Processes of any of these kinds."
    )

    @field_validator("cgroups", "processes")
    @classmethod
    def _not_too_many(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(value) > MOST_SELECTORS:
            raise ValueError(f"at most {MOST_SELECTORS} can be named; use patterns")
        return value

    @model_validator(mode="after")
    def _observes_something(self) -> Self:
        if self.host is False and not self.cgroups and not self.processes:
            raise ValueError("it observes nothing; name cgroups or processes, or write enabled: false beside the scope")
        return self

    @property
    def chosen(self) -> Scope:
        """What the agent works with."""
        named = bool(self.cgroups or self.processes)
        host = not named if self.host is None else self.host
        return Scope(host=host, cgroups=self.cgroups, processes=tuple(each.chosen for each in self.processes))


class SamplingChoice(_TenantSection):
    """How often the host is looked at for this tenant. A source of several tenants is read as the fastest wants it."""

    strategy: Annotated[Sampling, Field(strict=False)] = setting(
        Sampling.FIXED,
        unit="",
        about="fixed: once a second; adaptive: less often while calm, at once on a trend, pressure or expected peak.",
    )
    slowest: float = setting(
        5.0, unit="seconds", about="Longest interval of an adaptive source.", at_least=1, at_most=SLOWEST_SECONDS
    )


class SystemPerformanceSource(_TenantSection):
    """Host performance of this tenant; what is left out follows the deployment's settings."""

    enabled: bool | None = setting(None, unit="", about="Collect it.")
    collectors: Annotated[tuple[str, ...], Field(strict=False)] | None = setting(
        None, unit="", about=f"Which of {', '.join(KNOWN_COLLECTORS)}; left out: all that the scope allows."
    )
    detail: bool = setting(
        default=False, unit="", about="Store those metrics too that docs/metrics.md marks as detail."
    )
    collection_interval: float | None = setting(
        None, unit="seconds", about="Resolution in the database.", at_least=1, at_most=3600
    )
    ml_enabled: bool | None = setting(None, unit="", about="Train models and score.")
    anomaly_threshold: float | None = setting(
        None, unit="score", about="Score from which a minute is anomalous.", at_least=0.5, at_most=1
    )
    scope: ScopeChoice = section(ScopeChoice, "The part of a host that is observed.")
    max_series: int | None = setting(
        None,
        unit="series",
        about="Series stored per host, maxima included; further ones are refused and counted.",
        at_least=1,
        at_most=100_000,
    )

    sampling: SamplingChoice = section(SamplingChoice, "How often the host is looked at.")

    @field_validator("collectors")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if name not in KNOWN_COLLECTORS:
                like = nearest(name, KNOWN_COLLECTORS)
                hint = f"did you mean {like}? " if like else ""
                raise ValueError(f"{name[:40]!r} is not known; {hint}known are {', '.join(KNOWN_COLLECTORS)}")
        if value is not None and len(set(value)) != len(value):
            raise ValueError("a collector is named twice")
        if value == ():
            raise ValueError("it is empty; leave it out for all, or set enabled: false")
        return value

    @model_validator(mode="after")
    def _scope_can_give_them(self) -> Self:
        sources = self.scope.chosen.sources
        beyond = [name for name in self.collectors or () if sources is not None and name not in sources]
        if sources is not None and beyond:
            raise ValueError(
                f"collectors: {', '.join(beyond)} would tell of more than the scope names; "
                f"leave {'it' if len(beyond) == 1 else 'them'} out (allowed with this scope: {', '.join(sources)}), "
                "or write scope.host: true"
            )
        return self


class SpotifyChoice(_TenantSection):
    """Spotify of this tenant; what is left out follows the deployment's settings."""

    account: Label | None = setting(
        None,
        unit="",
        about="Developer account whose quota is used, shared by tenants that name it; left out: client_id.",
    )
    client_id: str | None = setting(None, unit="", about="Client id of an application of the tenant's own.")
    client_secret: str | None = Field(
        default=None,
        repr=False,
        description="Where its client secret is kept: `env:NAME` or `file:/path`, never the secret itself.",
        json_schema_extra={"secret": True},  # somebody will write the secret itself: no message may repeat it
    )
    sandbox: bool = setting(default=False, unit="", about="Ask the local sandbox, whose data are invented.")
    enabled: bool | None = setting(
        None, unit="", about="Pull its users' data; left out: where account, client_id or sandbox is set."
    )
    keep_days: int | None = setting(
        None, unit="days", about="Longest that anything is kept; docs/spotify.md has each dataset's own.", at_least=1
    )
    max_artists: int = setting(
        500,
        unit="artists",
        about="Artists that are followed, those that users follow first.",
        at_least=1,
        at_most=10_000,
    )

    @field_validator("client_id")
    @classmethod
    def _client_id(cls, value: str | None) -> str | None:
        return None if value is None else checked_client_id(value)

    @field_validator("client_secret")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError("it must say where the secret is kept, as env:NAME or file:/path, not the secret itself")
        return value

    @model_validator(mode="after")
    def _secret_of_an_application(self) -> Self:
        if self.client_secret is not None and self.client_id is None:
            raise ValueError("client_secret belongs to a client_id of the tenant's own: name that too")
        return self


class Sources(_TenantSection):
    """What is collected for this tenant."""

    system_performance: SystemPerformanceSource = section(SystemPerformanceSource, "Host performance.")
    spotify: SpotifyChoice = section(SpotifyChoice, "Spotify.")


class RetentionChoice(_TenantSection):
    """How long this tenant's data stay; what is left out follows the deployment's settings."""

    raw_days: int | None = setting(None, unit="days", about="Samples at full resolution.", at_least=1, at_most=3650)
    hourly_days: int | None = setting(None, unit="days", about="Hourly aggregates.", at_least=1, at_most=36500)


class AlertChoice(_TenantSection):
    """Where alerts go."""

    kind: Literal["log", "webhook"] = Field(description="`log` or `webhook`.")
    name: Label = Field(description="Unique within the tenant.")
    url: str | None = Field(
        default=None,
        repr=False,
        description="Of a webhook: an address, or `env:NAME` or `file:/path` where the address is kept.",
        json_schema_extra={"secret": True},
    )

    @property
    def holds_address(self) -> bool:
        """Whether the address itself is written here, not a reference to it."""
        return self.url is not None and not _REFERENCE.fullmatch(self.url)

    @model_validator(mode="after")
    def _url_fits_kind(self) -> Self:
        if self.kind == "webhook" and self.url is None:
            raise ValueError("a webhook needs a url")
        if self.kind == "log" and self.url is not None:
            raise ValueError("a log has no url")
        return self

    @field_validator("url")
    @classmethod
    def _address_or_reference(cls, value: str | None) -> str | None:
        if value is None or _REFERENCE.fullmatch(value):
            return value
        return checked_address(value)


class TenantFile(_TenantSection):
    """One file ``config/tenants/<id>.yml``."""

    id: str = Field(description="Lower-case letters, digits, inner hyphens, 2-40; equals the file's name.")
    name: str = Field(description="How people call the tenant, 1-80 characters.")
    tier: Annotated[Tier, Field(strict=False)] = setting(
        Tier.STANDARD, unit="", about="premium: runs of its own, first in the queue; standard: shared runs."
    )
    synthetic: bool = setting(default=False, unit="", about="Its history is invented, and marked so everywhere.")
    sources: Sources = section(Sources, "What is collected.")
    retention: RetentionChoice = section(RetentionChoice, "How long its data stay.")
    alerts: Annotated[tuple[AlertChoice, ...], Field(strict=False)] = Field(
        default=(AlertChoice(kind="log", name="log"),), description="Where alerts go; left out: the log."
    )

    @field_validator("id")
    @classmethod
    def _tenant_id(cls, value: str) -> str:
        try:
            return checked_tenant_id(value)
        except TenantIsolationError as error:
            refusal = str(error).rpartition("is refused: ")[2]
        raise ValueError(refusal)

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not 1 <= len(value) <= 80 or not value.isprintable() or value != value.strip():
            raise ValueError("it must be 1 to 80 printable characters without blanks around them")
        return value

    @field_validator("alerts")
    @classmethod
    def _no_name_twice(cls, value: tuple[AlertChoice, ...]) -> tuple[AlertChoice, ...]:
        names = [each.name for each in value]
        if len(set(names)) != len(names):
            raise ValueError("two alert targets have the same name")
        return value


def checked_tenant_file(values: Mapping[str, Any], place: Callable[[KeyPath], str]) -> TenantFile:
    """Return the tenant described by `values`.

    Parameters
    ----------
    values : Mapping
        What a file or a command line says.
    place : callable
        Names file and line of a key, for the message.

    Raises
    ------
    ConfigurationError
        With one line per problem.
    """
    try:
        return TenantFile.model_validate(values)
    except ValidationError as error:
        problems = explain(error, TenantFile, place)
    raise ConfigurationError("\n".join(problems))
