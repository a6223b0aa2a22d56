"""Settings of the policies for calls to other systems, and what holds for one system.

What holds is decided key by key: the service's own key, else what we know of that service (:data:`BUILT_IN`), else the
key of the section for all services.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, Self, TypeVar

from pydantic import ValidationError, model_validator

from collectors_dagster.config.fields import Section, section, setting

ServiceName = Literal["timescaledb", "mlflow", "spotify", "notifications"]
"""Systems that are called under policies. Redis is none of them: its guard has settings of its own (`redis.*`)."""


class CircuitBreakerKeys(Section):
    """When to stop calling a service that fails."""

    failure_threshold: int = setting(
        5,
        unit="failures",
        about="Failures that open the breaker: in a row, or within window_seconds.",
        at_least=1,
        at_most=1000,
    )
    recovery_timeout: float = setting(
        30.0, unit="seconds", about="Pause before one call is tried again.", at_least=0.1, at_most=3600
    )
    window_seconds: float = setting(
        0.0, unit="seconds", about="Time in which calls are counted; 0: the last calls are.", at_least=0, at_most=86_400
    )
    failure_ratio: float = setting(
        0.0, unit="share", about="Share of failed calls that opens it; 0: only their number.", at_least=0, at_most=1
    )
    slow_ratio: float = setting(
        0.0, unit="share", about="Share of slow calls that opens it; 0: slow calls do not.", at_least=0, at_most=1
    )
    slow_seconds: float = setting(
        5.0, unit="seconds", about="A call that takes longer is slow.", at_least=0.001, at_most=3600
    )
    minimum_calls: int = setting(
        10, unit="calls", about="Calls in the window before a share means anything.", at_least=1, at_most=1000
    )
    probes: int = setting(
        1,
        unit="calls",
        about="Calls tried at once after the pause, in all processes together.",
        at_least=1,
        at_most=100,
    )
    success_threshold: int = setting(
        1, unit="calls", about="Of the probes, those that must succeed to close it.", at_least=1, at_most=100
    )
    probe_lease_seconds: float = setting(
        60.0,
        unit="seconds",
        about="Time after which a probe is given up whose process is gone; longer than the longest call.",
        at_least=1,
        at_most=3600,
    )


class CircuitBreaker(CircuitBreakerKeys):
    """When to stop calling a service that fails."""

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if self.success_threshold > self.probes:
            raise ValueError(
                f"success_threshold {self.success_threshold} is more than probes {self.probes}: it would never close"
            )
        for key, value in (("failure_ratio", self.failure_ratio), ("slow_ratio", self.slow_ratio)):
            if 0 < value < 0.001:
                raise ValueError(f"{key} {value} is less than 0.001, the least share that is told apart; 0 is none")
        if 0 < self.window_seconds < 0.01:
            raise ValueError(f"window_seconds {self.window_seconds} is shorter than its ten steps of 1 ms; 0 is none")
        return self


class RateLimiterKeys(Section):
    """How fast a service is called."""

    requests_per_second: float = setting(
        5.0, unit="requests per second", about="Sustained rate of calls.", at_least=0.01, at_most=10000
    )
    burst_size: int = setting(
        10,
        unit="requests",
        about="Calls that may come at once (token_bucket) or wait (leaky_bucket).",
        at_least=1,
        at_most=10000,
    )
    algorithm: Literal["token_bucket", "sliding_window", "fixed_window", "leaky_bucket"] = setting(
        "token_bucket",
        unit="",
        about="How calls are counted: bursts, exactly in any window, in windows of the clock, or evenly spaced.",
    )
    window_seconds: float = setting(
        1.0, unit="seconds", about="Window of sliding_window and fixed_window.", at_least=0.001, at_most=86400
    )
    max_wait_seconds: float = setting(
        10.0, unit="seconds", about="How long a call waits for its turn; then it is refused.", at_least=0, at_most=3600
    )


class RateLimiter(RateLimiterKeys):
    """How fast a service is called."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.algorithm.endswith("_window") and self.requests_per_second * self.window_seconds < 1 - 1e-9:
            least = 1 / self.requests_per_second
            raise ValueError(
                f"window_seconds {self.window_seconds:g} would grant nothing at requests_per_second "
                f"{self.requests_per_second:g}: make it at least {least:g}, or the rate higher"
            )
        return self


class RetryKeys(Section):
    """How often and how long a call that failed is repeated, where repeating it is safe."""

    attempts: int = setting(
        3, unit="calls", about="Calls in all, the first one included; 1: none is repeated.", at_least=1, at_most=20
    )
    base_seconds: float = setting(
        0.5, unit="seconds", about="First pause, before chance has its say.", at_least=0.001, at_most=3600
    )
    cap_seconds: float = setting(8.0, unit="seconds", about="Longest pause.", at_least=0.001, at_most=3600)
    deadline_seconds: float = setting(
        30.0,
        unit="seconds",
        about="No pause is begun that would end later than this after the first call.",
        at_least=0,
        at_most=86_400,
    )
    growth: Literal["fixed", "linear", "exponential", "fibonacci"] = setting(
        "exponential", unit="", about="How pauses grow with failures in a row."
    )
    jitter: Literal["none", "full", "equal", "decorrelated"] = setting(
        "full", unit="", about="What chance makes of a pause."
    )
    budget_share: float = setting(
        0.2,
        unit="share",
        about="Repetitions are at most this share of the calls, plus a reserve.",
        at_least=0,
        at_most=1,
    )
    budget_reserve: float = setting(
        10.0,
        unit="repetitions per second",
        about="The reserve; it and the share both 0: no repetition at all.",
        at_least=0,
        at_most=10_000,
    )


class Retry(RetryKeys):
    """How often and how long a call that failed is repeated, where repeating it is safe."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.base_seconds > self.cap_seconds:
            raise ValueError(f"base_seconds {self.base_seconds:g} is more than cap_seconds {self.cap_seconds:g}")
        if self.attempts > 1 and self.budget_share + self.budget_reserve == 0:
            raise ValueError(
                f"attempts {self.attempts} would never be made: budget_share and budget_reserve are both 0; "
                "attempts 1 says that nothing is repeated"
            )
        return self


class BulkheadKeys(Section):
    """How many calls to a service run and wait at once."""

    limit: int = setting(10, unit="calls", about="Calls that run at once.", at_least=1, at_most=10_000)
    queue_limit: int = setting(
        100, unit="calls", about="Calls of a process that wait; more are refused at once.", at_least=0, at_most=100_000
    )
    max_wait_seconds: float = setting(
        10.0, unit="seconds", about="A call that has waited so long is refused.", at_least=0, at_most=3600
    )
    scope: Literal["process", "fleet"] = setting(
        "process", unit="", about="Whether the limit is each process's, or that of all together (through Redis)."
    )
    lease_seconds: float = setting(
        15.0,
        unit="seconds",
        about="Of the fleet: after so long a place is free again whose process died.",
        at_least=0.1,
        at_most=3600,
    )


class Bulkhead(BulkheadKeys):
    """How many calls to a service run and wait at once."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.queue_limit and not self.max_wait_seconds:
            raise ValueError(
                f"max_wait_seconds 0 lets none of queue_limit {self.queue_limit} wait: set queue_limit 0, or a wait"
            )
        return self


class Cache(Section):
    """How long what was loaded is used, and how much of it is kept."""

    hot_seconds: float = setting(
        300.0, unit="seconds", about="Time of what changes often; the shortest time.", at_least=0.1, at_most=31_622_400
    )
    warm_seconds: float = setting(
        3600.0, unit="seconds", about="Time of what changes now and then.", at_least=0.1, at_most=31_622_400
    )
    cold_seconds: float = setting(
        86_400.0,
        unit="seconds",
        about="Time of what hardly changes; the longest time.",
        at_least=0.1,
        at_most=31_622_400,
    )
    jitter: float = setting(
        0.1, unit="share", about="Of each time, taken off at random at most.", at_least=0, at_most=0.9
    )
    staleness: float = setting(
        0.1,
        unit="share",
        about="Of the answers, those that may be older than the last change: times follow observed changes; 0: fixed.",
        at_least=0,
        at_most=0.5,
    )
    early_refresh_beta: float = setting(
        1.0,
        unit="load times",
        about="Eagerness to load anew before the time is over (XFetch's beta); 0: never.",
        at_least=0,
        at_most=10,
    )
    negative_seconds: float = setting(
        60.0, unit="seconds", about="Time for which it is remembered that there is none.", at_least=0, at_most=86_400
    )
    stale_while_revalidate_seconds: float = setting(
        60.0,
        unit="seconds",
        about="After its time an answer is still given for so long while one process loads a new one.",
        at_least=0,
        at_most=31_622_400,
    )
    stale_if_error_seconds: float = setting(
        3600.0,
        unit="seconds",
        about="After its time an answer is still given for so long if loading fails.",
        at_least=0,
        at_most=31_622_400,
    )
    lease_seconds: float = setting(
        10.0, unit="seconds", about="Time after which a loader that died is replaced.", at_least=0.1, at_most=3600
    )
    max_wait_seconds: float = setting(
        30.0,
        unit="seconds",
        about="Another process's load is waited for so long, then this one loads too.",
        at_least=0,
        at_most=3600,
    )
    local_seconds: float = setting(
        5.0,
        unit="seconds",
        about="A process believes its own copy for so long; then it has seen what others invalidated.",
        at_least=0,
        at_most=86_400,
    )
    local_max_bytes: int = setting(
        32 * 1024**2, unit="bytes", about="Copies in one process.", at_least=1024, at_most=1024**4
    )
    local_tenant_max_bytes: int = setting(
        8 * 1024**2, unit="bytes", about="Copies of one tenant in one process.", at_least=1024, at_most=1024**4
    )
    tenant_max_bytes: int = setting(
        64 * 1024**2,
        unit="bytes",
        about="What a tenant's caches may have in Redis; what was used longest ago goes first.",
        at_least=64 * 1024,
        at_most=1024**4,
    )
    value_max_bytes: int = setting(
        1024**2,
        unit="bytes",
        about="Larger values are not kept, and none is unpacked to more; at most a 16th of tenant_max_bytes.",
        at_least=1024,
        at_most=256 * 1024**2,
    )
    compression: Literal["auto", "none", "gzip", "lz4", "zstd"] = setting(
        "auto", unit="", about="Codec of values; auto measures which saves most."
    )
    compression_min_bytes: int = setting(
        1024, unit="bytes", about="Smaller values are kept as they are.", at_least=0, at_most=1024**3
    )
    compression_min_saving: float = setting(
        0.2, unit="share", about="Values of which less is saved are kept as they are.", at_least=0, at_most=0.99
    )

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if not self.hot_seconds <= self.warm_seconds <= self.cold_seconds:
            raise ValueError(
                f"hot_seconds {self.hot_seconds:g}, warm_seconds {self.warm_seconds:g} and cold_seconds "
                f"{self.cold_seconds:g} do not grow in this order"
            )
        if self.value_max_bytes * 16 > self.tenant_max_bytes:
            raise ValueError(
                f"value_max_bytes {self.value_max_bytes} is more than a 16th of tenant_max_bytes "
                f"{self.tenant_max_bytes}, on which a value must find its place"
            )
        return self


class Leadership(Section):
    """Who leads, and how tenants are divided among instances."""

    lease_seconds: float = setting(
        15.0, unit="seconds", about="Time after which another leads when a leader is gone.", at_least=0.5, at_most=3600
    )
    heartbeat_seconds: float = setting(
        2.0, unit="seconds", about="How often an instance says that it lives.", at_least=0.05, at_most=600
    )
    dead_seconds: float = setting(
        6.0, unit="seconds", about="An instance not heard for so long lives no longer.", at_least=0.1, at_most=3600
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.dead_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                f"dead_seconds {self.dead_seconds:g} is less than twice heartbeat_seconds "
                f"{self.heartbeat_seconds:g}: one late heartbeat would be a death"
            )
        return self


class ServiceOverrides(Section):
    """What is different for one service; a key that is not set is as for all."""

    circuit_breaker: CircuitBreakerKeys = section(CircuitBreakerKeys, "When to stop calling.")
    rate_limiter: RateLimiterKeys = section(RateLimiterKeys, "How fast to call.")
    retry: RetryKeys = section(RetryKeys, "How to repeat.")
    bulkhead: BulkheadKeys = section(BulkheadKeys, "How many at once.")
    deadline_seconds: float = setting(
        60.0,
        unit="seconds",
        about="Time for one call with its repetitions, for timescaledb for one statement; 0: none.",
        at_least=0,
        at_most=86_400,
    )


class ServicePolicies(NamedTuple):
    """What holds for one service.

    Attributes
    ----------
    rate_limiter : RateLimiter or None
        ``None``: its calls are not limited in rate, because nobody set a rate for this service.
    deadline_seconds : float
        0 for none.
    """

    circuit_breaker: CircuitBreaker
    rate_limiter: RateLimiter | None
    retry: Retry
    bulkhead: Bulkhead
    deadline_seconds: float


BUILT_IN: Mapping[ServiceName, ServiceOverrides] = MappingProxyType(
    {
        # Our own database comes back within seconds of a restart, and a run that fails for it costs much: look again
        # soon, and wait for it. A probe only makes a connection, which takes 10 s at most. The server itself ends
        # a statement after 120 s; the limit here is for a server that does not answer any more.
        "timescaledb": ServiceOverrides(
            circuit_breaker=CircuitBreakerKeys(recovery_timeout=5.0, probe_lease_seconds=15.0),
            retry=RetryKeys(attempts=6, cap_seconds=5.0),
            bulkhead=BulkheadKeys(max_wait_seconds=5.0),
            deadline_seconds=150.0,
        ),
        # Publishing a model takes minutes when its plots are many.
        "mlflow": ServiceOverrides(
            circuit_breaker=CircuitBreakerKeys(probe_lease_seconds=120.0),
            retry=RetryKeys(attempts=2, base_seconds=1.0),
            bulkhead=BulkheadKeys(limit=4, max_wait_seconds=60.0),
            deadline_seconds=300.0,
        ),
        "spotify": ServiceOverrides(rate_limiter=RateLimiterKeys(requests_per_second=5.0)),
        # Short: whoever sends alerts has a ledger and comes again later. One at a time per target.
        "notifications": ServiceOverrides(
            rate_limiter=RateLimiterKeys(max_wait_seconds=5.0),
            retry=RetryKeys(attempts=2, cap_seconds=2.0, deadline_seconds=8.0),
            bulkhead=BulkheadKeys(limit=1, max_wait_seconds=5.0),
            deadline_seconds=30.0,
        ),
    }
)
"""What is different for services as we know them, whatever the settings for all say."""

S = TypeVar("S", bound=Section)


def merged(kind: type[S], *parts: Section) -> S:
    """Return one complete section: keys that are set in a later part stand over those of an earlier one.

    Raises
    ------
    ValueError
        If they cannot work together; the message names the keys.
    """
    values = parts[0].model_dump()
    for part in parts[1:]:
        values |= {name: getattr(part, name) for name in part.model_fields_set}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"]
    raise ValueError(reason.removeprefix("Value error, "))
