"""Peers: libraries that do what our patterns do, made as their documentation shows it. Only benchmarks know them.

Each function makes what it names and returns what is to be called. What a peer does not offer raises `LookupError`,
which the benchmarks report as such; so is any other exception. They are development dependencies, never the product's.
"""

import importlib
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

Sync = Callable[[], object]
Async = Callable[[], Awaitable[object]]

BREAKERS = ("pybreaker", "purgatory")
SHARED_BREAKERS = ("pybreaker", "purgatory", "purgatory, async")
RETRIES = ("tenacity", "stamina")
LIMITERS = ("limits", "pyrate-limiter", "throttled-py", "aiolimiter")


def versions() -> dict[str, str]:
    """Return which versions are measured."""
    return {name: version(name) for name in (*BREAKERS, *RETRIES, *LIMITERS)}


def attempt(measure: Callable[..., Any], *arguments: object) -> Any:
    """Return a peer's figure; if it cannot do it, in words why: it stays in the table."""
    try:
        return measure(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
        return f"fails: {type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:120]


# --- a good call through a closed circuit, or under a retry -----------------------------------------------------------


def guarded(name: str, function: Callable[[], Any]) -> Any:
    """Return `function`, a plain one or a coroutine's, under the peer's breaker or retry."""
    return _GUARDS[name](function)


def _pybreaker(function: Callable[[], Any]) -> Any:
    from inspect import iscoroutinefunction

    if iscoroutinefunction(function):
        raise LookupError("its asynchronous calls are Tornado's")
    return importlib.import_module("pybreaker").CircuitBreaker(fail_max=5, reset_timeout=30)(function)


def _purgatory(function: Callable[[], Any]) -> Any:
    from inspect import iscoroutinefunction

    module = importlib.import_module("purgatory")
    kind = module.AsyncCircuitBreakerFactory if iscoroutinefunction(function) else module.SyncCircuitBreakerFactory
    return kind(default_threshold=5, default_ttl=30)("bench")(function)


def _tenacity(function: Callable[[], Any]) -> Any:
    tenacity = importlib.import_module("tenacity")
    wait = tenacity.wait_random_exponential(multiplier=0.1, max=1)
    return tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=wait)(function)


def _stamina(function: Callable[[], Any]) -> Any:
    return importlib.import_module("stamina").retry(on=ValueError, attempts=3)(function)


_GUARDS = {"pybreaker": _pybreaker, "purgatory": _purgatory, "tenacity": _tenacity, "stamina": _stamina}


# --- a circuit in Redis -----------------------------------------------------------------------------------------------


def shared_breaker(name: str, url: str, circuit: str, *, failures: int, pause_seconds: float) -> Callable[..., Any]:
    """Return ``call(function)`` through the circuit `circuit`, which all processes share through Redis."""
    return _SHARED_BREAKERS[name](url, circuit, failures, pause_seconds)


def _pybreaker_in_redis(url: str, circuit: str, failures: int, pause_seconds: float) -> Callable[..., Any]:
    pybreaker = importlib.import_module("pybreaker")
    client = importlib.import_module("redis").Redis.from_url(url)
    storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, client, namespace=circuit)
    breaker = pybreaker.CircuitBreaker(fail_max=failures, reset_timeout=pause_seconds, state_storage=storage)
    call: Callable[..., Any] = breaker.call
    return call


def _purgatory_in_redis(url: str, circuit: str, failures: int, pause_seconds: float) -> Callable[..., Any]:
    purgatory = importlib.import_module("purgatory")
    unit_of_work = purgatory.SyncRedisUnitOfWork(url)
    factory = purgatory.SyncCircuitBreakerFactory(
        default_threshold=failures, default_ttl=pause_seconds, uow=unit_of_work
    )
    factory.initialize()

    def call(function: Callable[[], Any]) -> Any:
        with factory.get_breaker(circuit):
            return function()

    return call


def _async_purgatory_in_redis(url: str, circuit: str, failures: int, pause_seconds: float) -> Callable[..., Any]:
    asyncio = importlib.import_module("asyncio")
    purgatory = importlib.import_module("purgatory")

    async def guarded_call(function: Callable[[], Any]) -> Any:
        factory = purgatory.AsyncCircuitBreakerFactory(
            default_threshold=failures, default_ttl=pause_seconds, uow=purgatory.AsyncRedisUnitOfWork(url)
        )
        await factory.initialize()
        async with await factory.get_breaker(circuit):
            return function()

    return lambda function: asyncio.run(guarded_call(function))  # a loop for each thread that calls


_SHARED_BREAKERS = {
    "pybreaker": _pybreaker_in_redis,
    "purgatory": _purgatory_in_redis,
    "purgatory, async": _async_purgatory_in_redis,
}


def refuses(error: Exception) -> bool:
    """Say whether a peer's error means that its circuit is open."""
    return type(error).__name__ in {"CircuitBreakerError", "OpenedState"}


# --- a limit in Redis -------------------------------------------------------------------------------------------------


def shared_limiter(name: str, url: str, *, rate: int, burst: int) -> Callable[[], bool]:
    """Return ``take()``, which says whether it was granted; in Redis but for aiolimiter, which has no shared form."""
    return _SHARED_LIMITERS[name](url, rate, burst)


def most_granted(name: str, rate: float, burst: float, seconds: float) -> float:
    """Return what a peer that works as documented grants in so many seconds.

    Only throttled-py's GCRA knows a burst of its own; a window's whole content may come at once.
    """
    return rate * seconds + (burst if name == "throttled-py" else rate)


def _limits(url: str, rate: int, _burst: int) -> Callable[[], bool]:
    limits = importlib.import_module("limits")
    storage = importlib.import_module("limits.storage").RedisStorage(url)
    limiter = importlib.import_module("limits.strategies").MovingWindowRateLimiter(storage)
    item = limits.RateLimitItemPerSecond(rate)
    return lambda: bool(limiter.hit(item, "bench"))


def _pyrate(url: str, rate: int, _burst: int) -> Callable[[], bool]:
    pyrate = importlib.import_module("pyrate_limiter")
    client = importlib.import_module("redis").Redis.from_url(url)
    bucket = pyrate.RedisBucket.init([pyrate.Rate(rate, 1000)], client, "bench-pyrate")
    limiter = pyrate.Limiter(bucket)
    return lambda: bool(limiter.try_acquire("bench", blocking=False))


def _throttled(url: str, rate: int, burst: int) -> Callable[[], bool]:
    throttled = importlib.import_module("throttled")
    quota = throttled.rate_limiter.per_sec(rate, burst=burst)
    store = throttled.store.RedisStore(server=url)
    limiter = throttled.Throttled(key="bench", using="gcra", quota=quota, store=store)
    return lambda: not limiter.limit("bench").limited


def _aiolimiter(_url: str, rate: int, _burst: int) -> Callable[[], bool]:
    asyncio = importlib.import_module("asyncio")
    limiter = importlib.import_module("aiolimiter").AsyncLimiter(rate, 1.0)
    loop = asyncio.new_event_loop()

    async def take() -> bool:
        await limiter.acquire()
        return True

    return lambda: bool(loop.run_until_complete(take()))


MODULES = {
    "pybreaker": ("pybreaker", "redis"),
    "purgatory": ("purgatory", "redis.asyncio"),
    "purgatory, async": ("purgatory", "redis.asyncio"),
    "limits": ("limits", "limits.storage", "limits.strategies", "redis"),
    "pyrate-limiter": ("pyrate_limiter", "redis"),
    "throttled-py": ("throttled", "redis"),
    "aiolimiter": ("aiolimiter", "asyncio"),
    "redis-py": ("redis",),
}


def loaded(name: str) -> None:
    """Import what a peer needs, so that the time for it is not taken for a decision's."""
    for module in MODULES[name]:
        importlib.import_module(module)


def _redis_py(url: str, _rate: int, _burst: int) -> Callable[[], bool]:
    client = importlib.import_module("redis").Redis.from_url(url)
    return lambda: bool(client.get("x"))


_SHARED_LIMITERS = {
    "redis-py": _redis_py,
    "limits": _limits,
    "pyrate-limiter": _pyrate,
    "throttled-py": _throttled,
    "aiolimiter": _aiolimiter,
}


def local_acquire() -> Async:
    """Return aiolimiter's ``acquire`` for a limit that is never reached."""
    acquire: Async = importlib.import_module("aiolimiter").AsyncLimiter(1_000_000, 1.0).acquire
    return acquire
