"""The agent as a process: two threads, one lock, an orderly end."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from types import FrameType
from typing import Any

from collectors_dagster import __version__
from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.endpoint import Endpoint
from collectors_dagster.agent.form import Form, form_of
from collectors_dagster.agent.given_back import Returning
from collectors_dagster.agent.identity import Identity, load_identity, read_boot_id, spool_root
from collectors_dagster.agent.lock import spool_lock
from collectors_dagster.agent.observed import Observed
from collectors_dagster.agent.own import Own
from collectors_dagster.agent.pacing import ExpectedPeaks, Pacing
from collectors_dagster.agent.pages import Pages
from collectors_dagster.agent.plan_watcher import PlanWatcher
from collectors_dagster.agent.quota import Quotas
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.sampling import Sampler, SamplingProgress
from collectors_dagster.agent.self_metrics import Parts
from collectors_dagster.agent.service_manager import ServiceManager
from collectors_dagster.agent.shipping import IncidentShipper, WindowPolicy
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.agent.status import (
    delivery_status,
    identity_status,
    sampling_status,
    spool_status,
    status_path,
    write_status,
)
from collectors_dagster.agent.stop import Stop, Stopping
from collectors_dagster.clock import Clock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.descriptors import raise_limit
from collectors_dagster.collectors.protocol import Host, Watched
from collectors_dagster.collectors.runner import Runner, Sweep
from collectors_dagster.config.agent_plan import AgentPlan
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.errors import SpoolError
from collectors_dagster.integrations.timescale.delivery import DeliveryStore
from collectors_dagster.logs import get_logger
from collectors_dagster.monitoring.debug import DebugSession
from collectors_dagster.patterns.breaker_policy import configured
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import rate_policy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.security.sealing import load_sealer
from collectors_dagster.tenants import TenantDirectory

log = get_logger("agent")

TURN_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
PUBLISH_SECONDS = 3.0
FAREWELL_SECONDS = 1.2
"""After SIGTERM, delivery has this long to send what is ready."""


def run_agent(watcher: PlanWatcher, clock: Clock) -> None:
    """Sample and deliver until SIGTERM or SIGINT; SIGHUP reads settings and tenants again.

    Raises
    ------
    SpoolError
        If the spool cannot be written, or another agent uses it.
    """
    root = spool_root(watcher.current().home)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the spool {root} cannot be made: {error.strerror}; change its rights, or set COLLECTORS_HOME"
        raise SpoolError(message) from error
    raise_limit()
    with spool_lock(root), _signals(watcher.asked) as stop:
        Agent(watcher, clock, load_identity(root)).run(stop)


class Agent:
    """All parts of the agent, put together."""

    def __init__(self, watcher: PlanWatcher, clock: Clock, identity: Identity) -> None:
        plan = watcher.current()
        self._plan = plan
        self._watcher = watcher
        self._clock = clock
        self._identity = identity
        self._started_at = clock.now()
        self._watched = Watched()
        host = Host(
            clock,
            plan.agent.proc_root,
            plan.agent.sys_root,
            watched=self._watched,
            busiest_processes=plan.agent.busiest_processes,
        )
        sealer = load_sealer(plan.agent.spool_keys, plan.agent.spool_keys_file)
        progress = SamplingProgress()
        own = Own(progress, plan.agent.sample_interval_seconds, host.proc_root)
        collectors = [*collectors_of(host), own]
        self._spool = _spool(plan, clock, identity, host, form_of(plan.agent, sealer, collectors))
        self._runner = Runner(collectors, clock)
        own.tallies = self._runner.tallies
        self._sampler = Sampler(self._runner, self._spool, clock, progress=progress)
        self._peaks = ExpectedPeaks(clock)
        self._pacing = Pacing(self._runner, plan.agent.sample_interval_seconds, self._peaks.now)
        self._sampler.after = self._pacing.after
        self._paced = TenantDirectory()
        policies = _policies(plan, clock)
        self._delivery = Delivery(
            identity,
            lambda: DeliveryStore(watcher.current().store.known_conninfo(), application_name="collectors-agent"),
            policies,
            clock,
            sample_interval_seconds=plan.agent.sample_interval_seconds,
            quarantine_bytes=plan.agent.quarantine_max_bytes,
            sealer=sealer,
        )
        self._shipper = IncidentShipper(
            identity,
            self._delivery,
            _window_policy(plan),
            clock,
            sample_interval_seconds=plan.agent.sample_interval_seconds,
            sealer=sealer,
        )
        self._heartbeat_due = self._publish_due = clock.monotonic()
        self._debug = DebugSession("agent", watcher, clock, self._gauges)
        self._service_manager = ServiceManager(process_environment(), clock)
        self._observed = Observed(clock.monotonic())
        self._returning = Returning(clock)
        self._noted: Sweep | None = None
        self._endpoint = self._made_endpoint(policies) if plan.agent.endpoint_enabled else None

    def run(self, stop: Stopping) -> None:
        """Sample in this thread and deliver in another until `stop` is set."""
        self._follow()
        self._spool.release(self._delivery.delivered_seq)  # before the first look at what must give way
        courier = threading.Thread(target=self._deliver, args=(stop,), name="delivery", daemon=True)
        courier.start()
        threading.Thread(target=self._watch, args=(stop,), name="settings", daemon=True).start()
        if self._endpoint:
            self._endpoint.start()
        log.info("agent runs", agent_id=self._identity.agent_id, epoch=self._identity.epoch)
        self._service_manager.ready(f"agent {self._identity.agent_id} samples")
        gc.freeze()
        self._sampler.run(self._plan.agent.sample_interval_seconds, stop, self._upkeep)
        self._service_manager.stopping()
        self._spool.close()
        self._runner.close()
        self._debug.close()
        courier.join(FAREWELL_SECONDS)
        if self._endpoint:
            self._endpoint.close()
        write_status(status_path(self._plan.home), self._status("stopped"))
        log.info("agent stopped", delivered=not courier.is_alive())

    def _upkeep(self) -> None:
        """Do what the sampling thread does between sweeps."""
        self._observe()
        self._service_manager.alive()
        if self._paced is not self._delivery.directory:
            self._paced = self._delivery.directory
            self._pacing.follow(self._delivery.served)
        if self._clock.monotonic() >= self._publish_due:
            self._publish_due = self._clock.monotonic() + PUBLISH_SECONDS
            write_status(status_path(self._plan.home), self._status("running"))
        with suppress(OSError):  # a report that cannot be written must not stop the sampling
            self._debug.tick()

    def _observe(self) -> None:
        """Take note of a sweep that was just made."""
        newest = self._sampler.newest
        if newest is not None and newest is not self._noted:
            self._noted = newest
            seconds, lost = self._sampler.progress.last_seconds, self._spool.statistics.lost_records
            self._observed.swept(newest, self._runner.tallies, self._clock.monotonic(), seconds, lost)

    def _made_endpoint(self, policies: Policies) -> Endpoint:
        plan, clock = self._plan, self._clock
        parts = Parts(
            identity=self._identity,
            started_at=self._started_at,
            interval_seconds=plan.agent.sample_interval_seconds,
            clock=clock,
            sampler=self._sampler,
            runner=self._runner,
            spool=self._spool,
            delivery=self._delivery,
            breaker=policies.breaker,
            observed=self._observed,
        )
        pages = Pages(parts, lambda: self._status("running"), self._problems)
        listen = (plan.agent.endpoint_address, plan.port)
        return Endpoint(listen, pages.answer, clock, pages.answers)

    def _problems(self) -> tuple[str, ...]:
        return (*self._watcher.problems, *self._delivery.tenant_problems)

    def _watch(self, stop: Stopping) -> None:
        while not stop.wait(TURN_SECONDS):
            try:
                self._watcher.look()
            except Exception:
                log.exception("following the settings stumbled; it goes on")

    def _deliver(self, stop: Stopping) -> None:
        while not stop.wait(TURN_SECONDS):
            self._turn()
        self._turn()
        self._delivery.close()

    def _follow(self) -> None:
        """Take over the tenants as they are now: what is delivered to them, and what is looked at for them."""
        self._delivery.follow(self._watcher.current().tenants, self._spool.next_seq)
        if self._watched.scopes != self._delivery.scopes:
            self._watched.scopes = self._delivery.scopes

    def _turn(self) -> None:
        try:
            self._follow()
            self._delivery.turn()
            self._spool.release(self._delivery.delivered_seq)
            if self._clock.monotonic() >= self._heartbeat_due:
                self._heartbeat_due = self._clock.monotonic() + HEARTBEAT_SECONDS
                self._delivery.heartbeat(__version__, self._started_at, self._status("running"))
                self._shipper.look()
            self._shipper.turn()
            if self._peaks.due and self._pacing.adaptive:
                self._peaks.learn(self._delivery.expected_peaks())
            self._returning.look()
        except Exception:
            log.exception("delivery stumbled; it goes on")

    def _gauges(self) -> dict[str, float]:
        progress = self._sampler.progress
        return {"sweeps": progress.sweeps, "overruns": progress.overruns, "sweep_seconds": progress.last_seconds}

    def _status(self, state: str) -> dict[str, Any]:
        interval = self._plan.agent.sample_interval_seconds
        return {
            **identity_status(self._identity, self._started_at),
            "state": state,
            "updated_at": self._clock.now().isoformat(),
            "sampling": sampling_status(self._sampler, self._runner, interval, self._pacing.reasons),
            "spool": spool_status(self._spool, self._clock.now()),
            "delivery": delivery_status(self._delivery),
            "incidents": asdict(self._shipper.progress),
            "tenant_problems": list(self._delivery.tenant_problems),
            "endpoint": self._plan.agent_url,
        }


def _spool(plan: AgentPlan, clock: Clock, identity: Identity, host: Host, form: Form) -> Spool:
    agent = plan.agent
    header = SegmentHeader(identity.agent_id, identity.epoch, read_boot_id(host.proc_root), identity.host)
    limits = SpoolLimits(
        Quotas(
            max_bytes=agent.spool_max_bytes,
            max_hours=agent.spool_max_hours,
            recorder_max_bytes=agent.flight_recorder_max_bytes,
            recorder_hours=agent.flight_recorder_hours,
        ),
        fsync_interval_seconds=agent.fsync_interval_seconds,
        sample_interval_seconds=agent.sample_interval_seconds,
    )
    return Spool(identity.directory, header, limits, clock, form)


def _window_policy(plan: AgentPlan) -> WindowPolicy:
    agent = plan.agent
    return WindowPolicy(
        before=timedelta(minutes=agent.incident_minutes_before),
        after=timedelta(minutes=agent.incident_minutes_after),
        most=timedelta(minutes=agent.incident_minutes_most),
        reach=timedelta(hours=agent.flight_recorder_hours),
    )


def _policies(plan: AgentPlan, clock: Clock) -> Policies:
    limiter = plan.rate_limiter
    return Policies(
        CircuitBreaker(
            "delivery",
            configured(plan.circuit_breaker),
            classify=failed_if_transient,
            clock=clock,
        ),
        local_rate_limiter("delivery", rate_policy(limiter), clock=clock),
        Backoff(base_seconds=0.5, cap_seconds=15.0, random=_random),
    )


def _random() -> float:
    """Return a number from 0 to 1: of a generator that needs no module."""
    return int.from_bytes(os.urandom(6), "big") / 2**48


@contextmanager
def _signals(reload: threading.Event) -> Iterator[Stop]:
    """Yield an event that SIGTERM and SIGINT set; SIGHUP, where there is one, sets the other one."""
    stop = Stop()
    meanings: dict[signal.Signals, Stop | threading.Event] = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if hasattr(signal, "SIGHUP"):
        meanings[signal.SIGHUP] = reload

    def handle(number: int, frame: FrameType | None) -> None:
        meanings[signal.Signals(number)].set()

    before = {number: signal.signal(number, handle) for number in meanings}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
