"""How soon real load becomes an incident and an alert, on the stack that runs here (``make up``).

Loads every processor of this machine for a minute, and watches the tenants' incidents of this host: opened, told,
resolved. It needs a machine that is otherwise at rest: on one that is always busy, full load is no news.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import StartupError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import IncidentEvent, IncidentEventKind

LOAD_SECONDS = 60.0
REST_SECONDS = 600.0
RESOLVE_SECONDS = 300.0
CLOCK = SystemClock()


def measure() -> Report:
    """Load, watch, report."""
    with Store(load_settings().database_conninfo("collectors"), application_name="bench-reaction") as store:
        _wait_for_rest(store)
        began = CLOCK.now()
        with _load():
            opened = _event(store, IncidentEventKind.OPENED, began, 2 * LOAD_SECONDS)
        ended = CLOCK.now()
        told = _told(store, opened)
        resolved = _event(store, IncidentEventKind.RESOLVED, began, RESOLVE_SECONDS)
    incident = opened.incident
    seconds = {
        "incident after": (incident.updated_at - began).total_seconds(),
        "alert delivered after": (told - began).total_seconds(),
        "resolved after the load": (resolved.incident.updated_at - ended).total_seconds(),
    }
    goals = (
        Goal("seconds from load to incident", seconds["incident after"], 120),
        Goal("seconds from load to delivered alert", seconds["alert delivered after"], 120),
        Goal("seconds from calm to resolution", seconds["resolved after the load"], RESOLVE_SECONDS),
    )
    detail = {
        "tenant": incident.tenant_id,
        "title": incident.title,
        "severity": incident.severity.value,
        "signals": [part.signal for part in incident.contributions],
    }
    return Report("reaction", goals, detail)


@contextmanager
def _load() -> Iterator[None]:
    """Keep every processor busy for a minute, at least until the block ends."""
    spin = f"import time; end = time.monotonic() + {LOAD_SECONDS}\nwhile time.monotonic() < end: pass"
    processes = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait_for_rest(store: Store) -> None:
    end = CLOCK.monotonic() + REST_SECONDS
    while any(incident.host == socket.gethostname() for incident in store.incidents.open()):
        if CLOCK.monotonic() > end:
            raise StartupError(f"an incident of this host has been open for {REST_SECONDS:g} s: the machine is busy")
        CLOCK.sleep(2.0)


def _event(store: Store, kind: IncidentEventKind, since: datetime, seconds: float) -> IncidentEvent:
    end = CLOCK.monotonic() + seconds
    while CLOCK.monotonic() < end:
        for event in store.incidents.events_after(0, 100_000):
            if event.kind is kind and event.incident.updated_at > since:
                return event
        CLOCK.sleep(0.5)
    raise StartupError(f"no incident was {kind} within {seconds:g} s; is the stack up and the machine else at rest?")


def _told(store: Store, event: IncidentEvent) -> datetime:
    end = CLOCK.monotonic() + 60
    while CLOCK.monotonic() < end:
        if told := store.alerts.delivered_at(event.id):
            return told
        CLOCK.sleep(0.5)
    raise StartupError("the incident was not told within 60 s; are the Dagster daemon and its sensors running?")


if __name__ == "__main__":
    main(measure, __doc__)
