"""Who is served: the tenant's identity and what it may ask for.

A :class:`Tenant` is already valid; files and command lines are checked in ``config``.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from collectors_dagster.errors import ConfigurationError, TenantIsolationError
from collectors_dagster.scopes import Scope

TENANT_ID = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
"""Lower-case letters, digits and inner hyphens, 2-40 characters: safe in paths, SQL identifiers, partition keys
and URLs (RFC 1123 label, shortened)."""


class Tier(StrEnum):
    """How a tenant is served: premium tenants get runs of their own, first in the queue; standard ones share."""

    PREMIUM = "premium"
    STANDARD = "standard"


def checked_tenant_id(value: str) -> str:
    """Return `value` if it is a tenant id.

    Raises
    ------
    TenantIsolationError
        For anything else: it must not reach a path, a query or a partition.

    Examples
    --------
    >>> checked_tenant_id("acme-eu")
    'acme-eu'
    """
    if not TENANT_ID.fullmatch(value):
        shown = value if len(value) <= 40 else value[:40] + "..."
        message = (
            f"tenant id {shown!r} is refused: use 2-40 lower-case letters, digits and inner hyphens, "
            "starting with a letter, e.g. acme-eu"
        )
        raise TenantIsolationError(message)
    return value


SLOWEST_SECONDS = 10
"""No source of a host is read less often than this."""


class Sampling(StrEnum):
    """How often a tenant's sources are looked at on the host."""

    FIXED = "fixed"
    """At the agent's interval, always."""
    ADAPTIVE = "adaptive"
    """Less often while nothing happens; at the agent's interval on a trend, under pressure, at an expected peak."""


@dataclass(frozen=True, slots=True)
class SystemSource:
    """Host performance of this tenant.

    Attributes
    ----------
    collectors : tuple of str
        Names of collectors; ``docs/metrics.md`` says what each of them reads.
    detail : bool
        Store the metrics that ``docs/metrics.md`` marks as detail, too.
    collection_interval_seconds : float
        Resolution in the database; the host is sampled at 1 Hz whatever it says.
    anomaly_threshold : float
        Shown score 0..1 from which a minute counts as anomalous.
    sampling : Sampling
        Strategy on the host.
    slowest_seconds : float
        The longest interval of an adaptive source.
    scope : Scope
        The part of the host that is observed.
    max_series : int
        Series that are stored per host, maxima of gauges included; further ones are refused and counted.
    """

    enabled: bool = True
    collectors: tuple[str, ...] = (
        "cpu",
        "load",
        "memory",
        "disk",
        "network",
        "pressure",
        "protocols",
        "sockets",
        "limits",
        "clock",
        "gpu",
        "cgroup",
        "process",
        "agent",
    )
    detail: bool = False
    collection_interval_seconds: float = 10.0
    ml_enabled: bool = True
    anomaly_threshold: float = 0.9
    sampling: Sampling = Sampling.FIXED
    slowest_seconds: float = 5.0
    scope: Scope = field(default_factory=Scope)
    max_series: int = 2000


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that each level of the tenant's data is kept."""

    raw_days: int = 7
    hourly_days: int = 400


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """Where alerts go.

    Attributes
    ----------
    kind : str
        ``log`` or ``webhook``.
    name : str
        Unique within the tenant; names the target in the ledger of deliveries.
    url : str or None
        For webhooks. It may hold a credential, so it is kept out of representations.
    """

    kind: str
    name: str
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SpotifySource:
    """Spotify of this tenant; what is None follows the deployment's settings.

    Attributes
    ----------
    account : str or None
        Name of the developer account whose quota is used: tenants that name the same one share it.
    client_id : str or None
        Application that is registered with Spotify.
    client_secret : str or None
        Where its secret is kept, ``env:NAME`` or ``file:/path``; never the secret itself.
    sandbox : bool
        The local sandbox is asked instead of the real service: all of its data are invented.
    enabled : bool
        Whether anything is pulled.
    keep_days : int or None
        Longest that anything is kept; None: each dataset's own time.
    max_artists : int
        The most artists that are followed.
    """

    account: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    sandbox: bool = False
    enabled: bool = False
    keep_days: int | None = None
    max_artists: int = 500


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, valid, with the deployment's defaults filled in."""

    id: str
    name: str
    tier: Tier = Tier.STANDARD
    system: SystemSource = field(default_factory=SystemSource)
    retention: Retention = field(default_factory=Retention)
    alerts: tuple[AlertTarget, ...] = ()
    spotify: SpotifySource = field(default_factory=SpotifySource)
    synthetic: bool = False

    def __post_init__(self) -> None:
        checked_tenant_id(self.id)


@dataclass(frozen=True, slots=True)
class TenantDirectory:
    """All tenants at one moment.

    Attributes
    ----------
    tenants : tuple of Tenant
        Sorted by id; where a file is bad, its last good version.
    problems : tuple of str
        One line per thing that is wrong, with file and line; empty when all is well.
    """

    tenants: tuple[Tenant, ...] = ()
    problems: tuple[str, ...] = ()

    def ids(self) -> tuple[str, ...]:
        """Return the ids, sorted."""
        return tuple(each.id for each in self.tenants)

    def find(self, tenant_id: str) -> Tenant:
        """Return a tenant.

        Raises
        ------
        ConfigurationError
            If there is none of this id; the message names the nearest one.
        """
        for tenant in self.tenants:
            if tenant.id == tenant_id:
                return tenant
        from difflib import get_close_matches  # noqa: PLC0415 - it is large, and needed by whoever mistypes only

        like = get_close_matches(tenant_id.lower(), self.ids(), n=1)
        hint = f"did you mean {like[0]}? " if like else ""
        known = ", ".join(self.ids()) or "none"
        raise ConfigurationError(f"there is no tenant {tenant_id[:40]!r}; {hint}known are: {known}")
