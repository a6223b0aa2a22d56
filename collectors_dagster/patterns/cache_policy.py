"""How long what was loaded is used: tiers, times that follow the rate of change, early refreshes, stale answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from collectors_dagster.errors import CollectorsError
from collectors_dagster.patterns.cache_rules import SHELVES
from collectors_dagster.patterns.compression import LEAST_SAVING, SMALLEST_BYTES, Codec, CompressionPolicy

MEMORY_RELOADS = 32
"""Reloads after which half of what was seen before is forgotten, so that a new rate of change shows."""
EARLIEST = 30.0
"""An early refresh begins at most so many load times before the end: earlier it has no chance (e to the -30)."""


class Tier(StrEnum):
    """How soon something is expected to change."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"


TIERS = tuple(Tier)
"""In the order of their numbers in entries: append, never reorder."""


class History(NamedTuple):
    """What reloads of one entry have shown.

    Attributes
    ----------
    reloads, changes : int
        How often it was loaded again, and how often it was another one then.
    watched_seconds : float
        Time between the first load and the last.

    Examples
    --------
    >>> History().after(changed=True, seconds=300.0)
    History(reloads=1, changes=1, watched_seconds=300.0)
    """

    reloads: int = 0
    changes: int = 0
    watched_seconds: float = 0.0

    def after(self, *, changed: bool, seconds: float) -> "History":
        """Return the history after one more reload, so many seconds after the load before."""
        reloads, changes, watched = self.reloads + 1, self.changes + changed, self.watched_seconds + max(0.0, seconds)
        if reloads > MEMORY_RELOADS:
            return History(reloads // 2, changes // 2, watched / 2)
        return History(reloads, changes, watched)


NO_HISTORY = History()


def changes_expected(history: History) -> float:
    """Return how often it will have changed, those times included that fell between the same two reloads.

    Cho and Garcia-Molina, "Estimating frequency of change", ACM TOIT 3 (2003), equation 9.

    Examples
    --------
    >>> round(changes_expected(History(10, 2, 1.0)), 2), round(changes_expected(History(10, 10, 1.0)), 2)
    (2.11, 30.45)
    """
    reloads, changes = history.reloads, min(history.changes, history.reloads)
    return -reloads * math.log((reloads - changes + 0.5) / (reloads + 0.5))


def refresh_early(load_seconds: float, left_seconds: float, beta: float, luck: float) -> bool:
    """Say whether one caller should load anew before the time is over (XFetch, Vattani et al., VLDB 2015).

    Parameters
    ----------
    load_seconds : float
        How long the last load took: the slower, the earlier.
    beta : float
        1 is the optimum for loads of constant duration; more is earlier; 0 is never.
    luck : float
        From 0 up to 1.

    Examples
    --------
    >>> refresh_early(2.0, 1.0, 1.0, 0.5), refresh_early(2.0, 5.0, 1.0, 0.5)
    (True, False)
    """
    return beta > 0 and -load_seconds * beta * math.log(1.0 - luck) >= left_seconds


def stale_if_transient(error: Exception) -> bool:
    """Say whether an error is one for which what was known before is a good answer: by its ``transient``, else I/O."""
    return error.transient if isinstance(error, CollectorsError) else isinstance(error, OSError)


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is kept, where, and how small.

    Attributes
    ----------
    tenant_bytes : int
        What a tenant may have in the store, its values packed, with 256 bytes for each entry.
    value_bytes : int
        Larger values are used, but not kept; what would unpack to more is refused.
    local_seconds : float
        Time for which a process believes its own copy without asking; another one's invalidation is seen by then.
    local_bytes, local_tenant_bytes : int
        Copies in this process, and those of one tenant.
    lease_seconds : float
        After so long a loader whose process died is replaced.
    """

    tenant_bytes: int = 64 * 1024**2
    value_bytes: int = 1024**2
    local_seconds: float = 5.0
    local_bytes: int = 32 * 1024**2
    local_tenant_bytes: int = 8 * 1024**2
    lease_seconds: float = 10.0
    compression: CompressionPolicy = field(
        default_factory=lambda: CompressionPolicy((Codec.ZSTD, Codec.GZIP, Codec.LZ4), SMALLEST_BYTES, LEAST_SAVING)
    )

    def __post_init__(self) -> None:
        if min(self.tenant_bytes, self.value_bytes, self.local_bytes, self.local_tenant_bytes) < 1:
            raise ValueError(f"sizes of a cache are at least 1 byte: {self}")
        if self.value_bytes * SHELVES > self.tenant_bytes:
            raise ValueError(
                f"value_bytes {self.value_bytes} is more than a {SHELVES}th of tenant_bytes {self.tenant_bytes}, where "
                "a value must find its place: make tenant_bytes larger or value_bytes smaller"
            )
        if not self.local_seconds >= 0 or not self.lease_seconds >= 0.1:
            raise ValueError(f"local_seconds is at least 0 and lease_seconds at least 0.1: {self}")

    @property
    def shelf_bytes(self) -> int:
        """What lies on one shelf at most."""
        return self.tenant_bytes // SHELVES


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long what was loaded is used.

    Attributes
    ----------
    tier : Tier
        How long at first.
    hot_seconds, warm_seconds, cold_seconds : float
        Times of the tiers. Observed changes move the time between the first and the last.
    jitter : float
        Share of the time, at most, that is taken off at random, so that what was loaded together does not end together.
    staleness : float
        Share of answers that may be older than the last change; a smaller one makes times shorter. 0: times stay as
        the tier says.
    early_refresh_beta : float
        See :func:`refresh_early`.
    negative_seconds : float
        How long it is remembered that there is none (a load returned ``None``); 0: not at all.
    stale_while_revalidate_seconds : float
        After its time an answer is given at once for so long, while one caller's process loads a new one (RFC 5861).
    stale_if_error_seconds : float
        For so long it is given if loading fails.
    max_wait_seconds : float
        Another process's load is waited for so long; then this one loads, too.
    stale_on : callable
        For which errors of a load a stale answer is given.
    """

    tier: Tier = Tier.WARM
    hot_seconds: float = 300.0
    warm_seconds: float = 3600.0
    cold_seconds: float = 86_400.0
    jitter: float = 0.1
    staleness: float = 0.1
    early_refresh_beta: float = 1.0
    negative_seconds: float = 60.0
    stale_while_revalidate_seconds: float = 60.0
    stale_if_error_seconds: float = 3600.0
    max_wait_seconds: float = 30.0
    stale_on: Callable[[Exception], bool] = stale_if_transient
    limits: CacheLimits = field(default_factory=CacheLimits)

    def __post_init__(self) -> None:
        if not 0 < self.hot_seconds <= self.warm_seconds <= self.cold_seconds <= 366 * 86_400:
            raise ValueError(f"hot_seconds, warm_seconds and cold_seconds do not grow within a year: {self}")
        if not 0 <= self.jitter <= 0.9 or not 0 <= self.staleness <= 0.5:
            raise ValueError(f"jitter is from 0 to 0.9 and staleness from 0 to 0.5: {self}")
        for name in (
            "early_refresh_beta",
            "negative_seconds",
            "stale_while_revalidate_seconds",
            "stale_if_error_seconds",
            "max_wait_seconds",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is at least 0 and finite, not {getattr(self, name)}")

    @property
    def stale_seconds(self) -> float:
        """How long an entry is kept after its time."""
        return max(self.stale_while_revalidate_seconds, self.stale_if_error_seconds)

    def seconds(self, tier: Tier) -> float:
        """Return the time of a tier."""
        return {Tier.HOT: self.hot_seconds, Tier.WARM: self.warm_seconds, Tier.COLD: self.cold_seconds}[tier]

    def tier_of(self, seconds: float) -> Tier:
        """Return the tier whose time is nearest below."""
        return max((tier for tier in TIERS if self.seconds(tier) <= seconds), key=self.seconds, default=Tier.HOT)

    def fresh_seconds(self, history: History) -> float:
        """Return how long an answer with this history is fresh, before jitter.

        Changes are taken for a Poisson process with a gamma prior whose mean gives the tier's own time: then an answer
        used for the time `t` at a rate of `r` changes is out of date for about `r t / 2` of it.

        Examples
        --------
        >>> policy = CachePolicy()
        >>> policy.fresh_seconds(History())
        3600.0
        >>> policy.fresh_seconds(History(10, 0, 36_000.0)), round(policy.fresh_seconds(History(10, 10, 36_000.0)))
        (10800.0, 343)
        """
        first = self.seconds(self.tier)
        if not self.staleness:
            return first
        prior = first / (2 * self.staleness)
        seconds = 2 * self.staleness * (prior + history.watched_seconds) / (1 + changes_expected(history))
        return min(max(seconds, self.hot_seconds), self.cold_seconds)

    def spread(self, seconds: float, luck: float) -> float:
        """Return a time with its jitter; `luck` is from 0 up to 1."""
        return seconds * (1 - self.jitter * luck)


class CacheSettings(Protocol):
    """``patterns.cache``."""

    @property
    def hot_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def warm_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def cold_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def jitter(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def staleness(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def early_refresh_beta(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def negative_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def stale_while_revalidate_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def stale_if_error_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def lease_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def max_wait_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def local_seconds(self) -> float: ...  # noqa: D102 - the setting of this name says it
    @property
    def local_max_bytes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def local_tenant_max_bytes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def tenant_max_bytes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def value_max_bytes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def compression(self) -> str: ...  # noqa: D102 - the setting of this name says it
    @property
    def compression_min_bytes(self) -> int: ...  # noqa: D102 - the setting of this name says it
    @property
    def compression_min_saving(self) -> float: ...  # noqa: D102 - the setting of this name says it


_CANDIDATES: dict[str, tuple[Codec, ...]] = {
    "auto": (Codec.ZSTD, Codec.GZIP, Codec.LZ4),
    "none": (),
    "gzip": (Codec.GZIP,),
    "lz4": (Codec.LZ4,),
    "zstd": (Codec.ZSTD,),
}


def cache_limits(settings: CacheSettings) -> CacheLimits:
    """Return the limits that settings ask for."""
    return CacheLimits(
        tenant_bytes=settings.tenant_max_bytes,
        value_bytes=settings.value_max_bytes,
        local_seconds=settings.local_seconds,
        local_bytes=settings.local_max_bytes,
        local_tenant_bytes=settings.local_tenant_max_bytes,
        lease_seconds=settings.lease_seconds,
        compression=CompressionPolicy(
            _CANDIDATES[settings.compression], settings.compression_min_bytes, settings.compression_min_saving
        ),
    )


def cache_policy(settings: CacheSettings, tier: Tier) -> CachePolicy:
    """Return the policy that settings ask for."""
    return CachePolicy(
        tier,
        hot_seconds=settings.hot_seconds,
        warm_seconds=settings.warm_seconds,
        cold_seconds=settings.cold_seconds,
        jitter=settings.jitter,
        staleness=settings.staleness,
        early_refresh_beta=settings.early_refresh_beta,
        negative_seconds=settings.negative_seconds,
        stale_while_revalidate_seconds=settings.stale_while_revalidate_seconds,
        stale_if_error_seconds=settings.stale_if_error_seconds,
        max_wait_seconds=settings.max_wait_seconds,
        limits=cache_limits(settings),
    )
