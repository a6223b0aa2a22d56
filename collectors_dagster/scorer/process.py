"""The scorer as a process: rounds in one thread, models in another, an orderly and quick end."""

import gc
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.settings_watcher import SettingsWatcher
from collectors_dagster.config.tenants import TenantWatcher
from collectors_dagster.integrations.redis import look_around, reporting_store
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.claims import Claims
from collectors_dagster.integrations.timescale.guard import database_guard
from collectors_dagster.monitoring.debug import DebugSession
from collectors_dagster.monitoring.model_metrics import LatestScores
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.scorer.champions import Champions, Registry
from collectors_dagster.scorer.division import GROUP, Division
from collectors_dagster.scorer.scorer import Scorer
from collectors_dagster.scorer.status import status_path, write_status

FAREWELL_SECONDS = 1.2
"""After SIGTERM a round has this long to end; one that waits for the database is left behind, it holds nothing."""

log = structlog.get_logger("scorer")


def run_scorer(settings: Settings, clock: Clock) -> None:
    """Score until SIGTERM or SIGINT.

    Raises
    ------
    SystemExit
        If scoring ended by itself: the log says why, and whoever started this process starts it again.
    """
    shared = reporting_store(settings, clock=clock)
    policies = Policies(
        settings.patterns,
        clock=clock,
        random=random.SystemRandom().random,
        store=shared,
        metrics=process_metrics(),
    )
    champions = Champions(
        lambda: _registry(settings, policies),
        cache_dir=settings.home / "models",
        memory=settings.home / "scorer" / "champions.json",
        clock=clock,
    )
    scores = LatestScores()
    with _stop_signals() as stop, _metrics_served(settings, scores):
        rounds = _Rounds(settings, champions, clock, stop, policies, scores=scores)
        models = threading.Thread(target=champions.run, args=(stop,), name="models", daemon=True)
        rounds.start()
        models.start()
        stop.wait()
        rounds.join(FAREWELL_SECONDS)
        shared.finish()
        log.info("scorer stopped", orderly=not rounds.is_alive())
    if rounds.broke:
        sys.exit(1)


class _Rounds(threading.Thread):
    """The thread that scores; whatever ends it ends the process."""

    def __init__(
        self,
        settings: Settings,
        champions: Champions,
        clock: Clock,
        stop: threading.Event,
        policies: Policies,
        *,
        scores: LatestScores,
    ) -> None:
        super().__init__(name="rounds", daemon=True)
        self.broke = False
        self._settings = settings
        self._champions = champions
        self._clock = clock
        self._stop_asked = stop
        self._policies = policies
        self._scores = scores

    def run(self) -> None:
        """Do round after round."""
        conninfo = self._settings.database_conninfo("collectors")
        try:
            guard = database_guard(self._policies, repeats=False)
            shares = self._policies.shares(GROUP, _instance())
            with Store(conninfo, application_name="collectors-scorer", guard=guard) as store:
                self._score(self._scorer(store, Division(shares, Claims(conninfo, "scorer"), self._clock)))
        except Exception:
            log.exception("scoring broke off")
            self.broke = True
        finally:
            self._stop_asked.set()

    def _score(self, scorer: Scorer) -> None:
        debug = DebugSession("scorer", SettingsWatcher(self._settings, self._clock), self._clock)
        self._publish(scorer)
        gc.freeze()
        pause = 0.0
        while not self._stop_asked.wait(pause):
            pause = scorer.tick()
            self._publish(scorer)
            debug.tick()
        scorer.close()
        debug.close()
        self._publish(scorer)

    def _scorer(self, store: Store, division: Division) -> Scorer:
        return Scorer(
            store,
            division,
            self._champions,
            TenantWatcher(self._settings, self._clock),
            self._clock,
            tick_seconds=self._settings.scorer.tick_seconds,
            backoff=Backoff(base_seconds=1.0, cap_seconds=15.0, random=random.SystemRandom().random),
        )

    def _publish(self, scorer: Scorer) -> None:
        self._scores.take(scorer.latest_scores())
        try:
            write_status(status_path(self._settings), scorer.status())
        except OSError as error:
            log.warning("status not written", reason=error.strerror)


def _instance() -> str:
    """Return a name that no other scorer has, and that tells people where it runs."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"


def _registry(settings: Settings, policies: Policies) -> Registry:
    from collectors_dagster.integrations.mlflow import (  # noqa: PLC0415  # costs seconds: not before ready
        ModelRegistry,
        guarded_by,
    )

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry would be a line; we say once what is wrong
    return ModelRegistry(settings.mlflow.tracking_uri, guarded_by(policies))


@contextmanager
def _metrics_served(settings: Settings, scores: LatestScores) -> Iterator[None]:
    """Serve the newest scores, and the metrics of all processes' policies: the scorer lives long."""
    if not settings.metrics.enabled:
        yield
        return
    from collectors_dagster.monitoring.resilience_metrics import serve_metrics  # noqa: PLC0415  # only if asked for

    end = serve_metrics(settings.metrics, settings.ports.metrics, lambda: look_around(settings), [scores])
    try:
        yield
    finally:
        end()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
