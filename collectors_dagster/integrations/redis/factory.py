"""Shared state as the settings describe it."""

from collections.abc import Callable
from random import SystemRandom

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.redis_address import RedisAddress, Topology, parse_address
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.integrations.redis.observing import StoreLog
from collectors_dagster.integrations.redis.store import RedisStore
from collectors_dagster.patterns.guarded_store import GuardedStore, StoreObserver
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.patterns.overview import Looking, Overview
from collectors_dagster.patterns.reporting_store import ReportingStore

_JITTER = SystemRandom().random


def shared_store(
    settings: Settings,
    *,
    clock: Clock,
    observer: StoreObserver | None = None,
    random: Callable[[], float] = _JITTER,
) -> GuardedStore:
    """Return the shared state of this installation, guarded; nothing is connected before it is used.

    Parameters
    ----------
    observer : StoreObserver or None
        ``None``: outages are logged, and counted among the process's metrics.

    Raises
    ------
    ConfigurationError
        If a file of ``redis.tls_*`` is not there. An embedded server that was never started is no error but an outage:
        everybody decides alone until there is one, and the processes are started anew.
    """
    store = bare_store(settings)
    return GuardedStore(
        store,
        clock=clock,
        random=random,
        observer=observer or StoreLog(process_metrics()),
        domain_of=store.fault_domain,
    )


def reporting_store(settings: Settings, *, clock: Clock) -> ReportingStore:
    """Return the same for a process whose policies count: it tells what was counted on the way."""
    return ReportingStore(shared_store(settings, clock=clock), process_metrics(), clock=clock)


def look_around(settings: Settings) -> Overview:
    """Return all circuits, limits, bulkheads, leaders and shares of this installation, and what was counted.

    It waits for Redis once; what is away is said in the answer.
    """
    with bare_store(settings) as store:
        dead_seconds = settings.patterns.leadership.dead_seconds
        return Looking(store, domain_of=store.fault_domain, dead_seconds=dead_seconds).look()


def bare_store(settings: Settings) -> RedisStore:
    """Return the same without a guard: for whoever wants to know how Redis is, not to live without it."""
    return RedisStore(_address(settings), prefix=settings.redis.prefix, options=_options(settings))


def _address(settings: Settings) -> RedisAddress:
    try:
        return parse_address(settings.redis_url().get_secret_value())
    except ConfigurationError:
        if not settings.redis_embedded:
            raise
    return RedisAddress(Topology.STANDALONE, ((settings.local_address, settings.ports.redis),))


def _options(settings: Settings) -> LinkOptions:
    redis = settings.redis
    for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
        path = getattr(redis, name)
        if path is not None and not path.is_file():
            raise ConfigurationError(f"redis.{name} = {path}: there is no such file")
    return LinkOptions(
        connect_seconds=redis.connect_timeout_seconds,
        answer_seconds=redis.answer_timeout_seconds,
        verify=redis.tls_verify,
        authorities=redis.tls_ca_file,
        certificate=redis.tls_cert_file,
        private_key=redis.tls_key_file,
        sentinel_password=redis.sentinel_password,
    )
