"""All that an agent needs to know, in plain values: settings and tenants, read and checked by somebody else.

The library that checks settings is larger than the whole agent. So a process of its own reads them
(:mod:`collectors_dagster.config.agent_planning`), says what it found in JSON, and ends; an agent holds the result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.tenants import TenantDirectory


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that is shown to nobody by accident.

    Examples
    --------
    >>> Secret("hunter2")
    Secret()
    """

    text: str = field(repr=False)

    def get_secret_value(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Switches:
    """What the agent measures of itself: ``debug.components.agent``."""

    metrics: bool
    profile: bool
    memory: bool


@dataclass(frozen=True, slots=True)
class DebugPlan:
    """The agent's part of ``debug``."""

    agent: Switches

    def of(self, component: str) -> Switches:
        """Return the switches of a component; others than the agent have none here."""
        return self.agent if component == "agent" else Switches(metrics=False, profile=False, memory=False)


@dataclass(frozen=True, slots=True)
class LogPlan:
    """The agent's part of ``log``."""

    level: str


@dataclass(frozen=True, slots=True)
class BreakerPlan:
    """``patterns.circuit_breaker``."""

    failure_threshold: int
    recovery_timeout: float
    window_seconds: float = 0.0
    failure_ratio: float = 0.0
    slow_ratio: float = 0.0
    slow_seconds: float = 5.0
    minimum_calls: int = 10
    probes: int = 1
    success_threshold: int = 1
    probe_lease_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class LimiterPlan:
    """``patterns.rate_limiter``."""

    requests_per_second: float
    burst_size: int
    algorithm: str = "token_bucket"
    window_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """``agent``: the same names, units and meanings as in ``docs/settings.md``."""

    sample_interval_seconds: float
    flight_recorder_hours: float
    flight_recorder_max_bytes: int
    incident_minutes_before: float
    incident_minutes_after: float
    incident_minutes_most: float
    spool_max_bytes: int
    spool_max_hours: float
    spool_keys: Secret | None
    spool_keys_file: Path | None
    spool_encryption: str
    sensitive: tuple[str, ...]
    spool_compression: str
    fsync_interval_seconds: float
    busiest_processes: int
    quarantine_max_bytes: int
    endpoint_enabled: bool
    endpoint_address: str
    proc_root: Path
    sys_root: Path


@dataclass(frozen=True, slots=True)
class Store:
    """The database to deliver to.

    Attributes
    ----------
    conninfo : Secret or None
        A libpq URL; ``None`` while it is not known.
    problem : str
        Why it is not.
    """

    conninfo: Secret | None
    problem: str = ""

    def known_conninfo(self) -> Secret:
        """Return the URL.

        Raises
        ------
        ConfigurationError
            If it is not known yet.
        """
        if self.conninfo is None:
            raise ConfigurationError(self.problem)
        return self.conninfo


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """What an agent does, for whom, and where it delivers.

    Attributes
    ----------
    port : int
        Of the endpoint.
    agent_url : str or None
        Where this machine's agent tells of itself; ``None`` if it does not.
    secrets : tuple of Secret
        Every secret of the settings, for redaction.
    secret_directory : Path
        Where the local stack's generated secrets lie.
    watched : tuple of Path
        If one of these changes, there may be another plan.
    problems : tuple of str
        What is wrong with the settings' files; the plan keeps what was right.
    values : mapping of str to int
        A checksum of each setting, by name: to tell which ones changed, not what they are.
    settings : Secret
        The settings as a document, for the next reading to fall back on.
    """

    home: Path
    agent: AgentOptions
    port: int
    agent_url: str | None
    store: Store
    log: LogPlan
    debug: DebugPlan
    circuit_breaker: BreakerPlan
    rate_limiter: LimiterPlan
    tenants: TenantDirectory
    secrets: tuple[Secret, ...]
    secret_directory: Path
    watched: tuple[Path, ...]
    problems: tuple[str, ...]
    values: Mapping[str, int]
    settings: Secret

    def secret_values(self) -> tuple[str, ...]:
        """Return every secret among the settings, for redaction."""
        return tuple(secret.text for secret in self.secrets)

    def changed_since(self, before: "AgentPlan") -> tuple[str, ...]:
        """Return the names of the settings that differ; never their values."""
        return tuple(name for name, value in self.values.items() if before.values.get(name) != value)


def dumped(plan: AgentPlan) -> str:
    """Return a plan as JSON; it holds secrets."""
    return json.dumps(_plain(plan))


def loaded(text: str) -> AgentPlan:
    """Return the plan that :func:`dumped` wrote."""
    plan: AgentPlan = _read(AgentPlan, json.loads(text))
    return plan


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, Path) else value


def _read(kind: Any, value: Any) -> Any:
    """Return plain values as what a field's type says."""
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**{each.name: _read(each.type, value[each.name]) for each in fields(kind)})
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], each) for each in value)
    if type(None) in get_args(kind):
        return None if value is None else _read(get_args(kind)[0], value)
    return kind(value) if isinstance(kind, type) and issubclass(kind, Path | Enum) else value
