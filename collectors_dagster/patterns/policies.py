"""Policies for a named service, composed from settings.

One object per process makes them all, so that they share what must be shared: the store, the metrics, one retry budget
per service. The order is the documented one: ``timeout | retry | breaker | limiter | bulkhead``, the outermost first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

from collectors_dagster.clock import Clock
from collectors_dagster.config.policy_sections import ServiceName, ServicePolicies
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import CollectorsError, PolicyError
from collectors_dagster.patterns import breaker_policy
from collectors_dagster.patterns.bulkhead import Bulkhead, BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, Outcome, failed_if_transient
from collectors_dagster.patterns.lazy_store import LazyStore
from collectors_dagster.patterns.leadership import Leadership, Shares
from collectors_dagster.patterns.metrics import UNCOUNTED
from collectors_dagster.patterns.observers import MetricsSink, ServiceObserver
from collectors_dagster.patterns.policy import Layer, Policy, Timeout
from collectors_dagster.patterns.rate_limiter import RateLimiter, local_rate_limiter
from collectors_dagster.patterns.rate_policy import rate_policy
from collectors_dagster.patterns.retry import Growth, Jitter, Retry, RetryPolicy
from collectors_dagster.patterns.retry_budget import RetryBudget
from collectors_dagster.patterns.shared_state import SharedStore

Classify = Callable[[Exception], Outcome]
RetryOn = Callable[[Exception], bool]


def worth_repeating(error: Exception) -> bool:
    """Say whether the same call may go well soon: not if a policy of ours refused it, an open circuit for example.

    Examples
    --------
    >>> from collectors_dagster.errors import CircuitOpenError, ServiceTimeoutError
    >>> worth_repeating(ServiceTimeoutError("no answer", service="hook", operation="post"))
    True
    >>> worth_repeating(CircuitOpenError("open"))
    False
    """
    return isinstance(error, CollectorsError) and error.transient and not isinstance(error, PolicyError)


@dataclass(frozen=True)
class Guards:
    """The policies of one service, or of one of its instances.

    Attributes
    ----------
    timeout, limiter : Timeout, RateLimiter or None
        ``None`` where the settings ask for none.
    """

    timeout: Timeout | None
    retry: Retry
    breaker: CircuitBreaker
    limiter: RateLimiter | None
    bulkhead: Bulkhead | SharedBulkhead

    @cached_property
    def policy(self) -> Policy:
        """All of them, for calls that may be repeated."""
        return _composed(self.timeout, self.retry, self.breaker, self.limiter, self.bulkhead)

    @cached_property
    def once(self) -> Policy:
        """All but the repetition: for calls that change something each time they are made."""
        return _composed(self.timeout, self.breaker, self.limiter, self.bulkhead)


class Policies:
    """Makes the policies of one process.

    Parameters
    ----------
    patterns : Patterns
        ``settings.patterns``.
    random : callable
        Like ``random.Random().random``: the jitter.
    store : SharedStore, optional
        Where circuits lie and rates are counted; by default in this process alone. A :class:`LazyStore` is woken by the
        first failure.
    metrics : MetricsSink
        Counts what the policies do, under the service's name.

    Examples
    --------
    >>> from collectors_dagster.clock import SystemClock
    >>> policies = Policies(Patterns(), clock=SystemClock(), random=lambda: 0.5)
    >>> policies.guards("mlflow").policy.call(lambda: "answer")
    'answer'
    """

    def __init__(
        self,
        patterns: Patterns,
        *,
        clock: Clock,
        random: Callable[[], float],
        store: SharedStore | None = None,
        metrics: MetricsSink = UNCOUNTED,
    ) -> None:
        self._patterns = patterns
        self._clock = clock
        self._random = random
        self._store = store
        self._metrics = metrics
        self._budgets: dict[ServiceName, RetryBudget] = {}

    def guards(
        self,
        service: ServiceName,
        *,
        instance: str = "",
        tenant: str = "shared",
        classify: Classify = failed_if_transient,
        retry_on: RetryOn = worth_repeating,
    ) -> Guards:
        """Return new policies for a service; keep them for as long as the process calls it.

        Parameters
        ----------
        instance : str
            Which of several, each with a circuit and a rate of its own: the target of an alert, say. No secret, no
            braces.
        tenant : str
            Whose calls they are, if tenants have circuits of their own.
        classify : callable
            What an error says about the service's health. The default suits whoever raises our own errors.
        retry_on : callable
            Which errors are worth a repetition.
        """
        asked = self._patterns.of(service)
        name = f"{service}.{instance}" if instance else service
        observer = ServiceObserver(service, self._metrics)
        return Guards(
            timeout=Timeout(asked.deadline_seconds, clock=self._clock) if asked.deadline_seconds else None,
            retry=Retry(
                _retry_policy(asked),
                retry_on=retry_on,
                clock=self._clock,
                random=self._random,
                budget=self._budget(service, asked),
                observer=observer,
            ),
            breaker=CircuitBreaker(
                name,
                breaker_policy.configured(asked.circuit_breaker),
                classify=self._waking(classify),
                clock=self._clock,
                store=self._store,
                tenant=tenant,
                observer=observer,
            ),
            limiter=self._limiter(name, asked, tenant, observer),
            bulkhead=self._bulkhead(name, asked, tenant, observer),
        )

    def leadership(self, role: str, holder: str) -> Leadership:
        """Return a candidate for a role, by the settings of ``patterns.leadership``.

        Raises
        ------
        ValueError
            Without shared state: each process would lead.
        """
        lease = self._patterns.leadership.lease_seconds
        return Leadership(role, holder, store=self._shared(), clock=self._clock, lease_seconds=lease)

    def shares(self, group: str, instance: str) -> Shares:
        """Return an instance that takes its part of the shares; raises like :meth:`leadership`."""
        asked = self._patterns.leadership
        return Shares(
            group,
            instance,
            store=self._shared(),
            clock=self._clock,
            heartbeat_seconds=asked.heartbeat_seconds,
            dead_seconds=asked.dead_seconds,
        )

    def _shared(self) -> SharedStore:
        if self._store is None:
            raise ValueError("who leads and who has which share is decided in shared state, and there is none")
        return self._store

    def _waking(self, classify: Classify) -> Classify:
        """Share state from the first failure on."""
        store = self._store
        if not isinstance(store, LazyStore):
            return classify

        def classified(error: Exception) -> Outcome:
            outcome = classify(error)
            if outcome is Outcome.FAILURE:
                store.wake()
            return outcome

        return classified

    def _budget(self, service: ServiceName, asked: ServicePolicies) -> RetryBudget | None:
        """Return the one budget of a service; none where nothing is repeated anyway."""
        if asked.retry.attempts == 1:
            return None
        if service not in self._budgets:
            share, reserve = asked.retry.budget_share, asked.retry.budget_reserve
            self._budgets[service] = RetryBudget(share=share, reserve_per_second=reserve)
        return self._budgets[service]

    def _limiter(self, name: str, asked: ServicePolicies, tenant: str, observer: ServiceObserver) -> RateLimiter | None:
        if asked.rate_limiter is None:
            return None
        policy, longest = rate_policy(asked.rate_limiter), asked.rate_limiter.max_wait_seconds
        if self._store is None:
            return local_rate_limiter(name, policy, clock=self._clock, max_wait_seconds=longest, observer=observer)
        return RateLimiter(
            name,
            policy,
            store=self._store,
            clock=self._clock,
            tenant=tenant,
            max_wait_seconds=longest,
            observer=observer,
        )

    def _bulkhead(
        self, name: str, asked: ServicePolicies, tenant: str, observer: ServiceObserver
    ) -> Bulkhead | SharedBulkhead:
        settings = asked.bulkhead
        policy = BulkheadPolicy(
            limit=settings.limit,
            queue_limit=settings.queue_limit,
            max_wait_seconds=settings.max_wait_seconds,
            lease_seconds=settings.lease_seconds,
        )
        if settings.scope == "process" or self._store is None:
            return Bulkhead(name, policy, observer=observer)
        return SharedBulkhead(
            name,
            policy,
            store=self._store,
            clock=self._clock,
            random=self._random,
            tenant=tenant,
            observer=observer,
        )


def _composed(*layers: Layer | None) -> Policy:
    return reduce(or_, (layer for layer in layers if layer is not None), Policy())


def _retry_policy(asked: ServicePolicies) -> RetryPolicy:
    settings = asked.retry
    return RetryPolicy(
        attempts=settings.attempts,
        base_seconds=settings.base_seconds,
        cap_seconds=settings.cap_seconds,
        deadline_seconds=settings.deadline_seconds,
        growth=Growth(settings.growth),
        jitter=Jitter(settings.jitter),
    )
