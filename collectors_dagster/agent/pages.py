"""The agent's pages: ``/metrics``, ``/health``, and ``/v1/...`` for ``collectors agent top``."""

import json
import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from collectors_dagster.agent.endpoint import Answer
from collectors_dagster.agent.exposition import CONTENT_TYPE, HostPage
from collectors_dagster.agent.footprint import Footprint
from collectors_dagster.agent.health import Health, Signals, judge
from collectors_dagster.agent.http_request import Request
from collectors_dagster.agent.observed import Snapshot
from collectors_dagster.agent.self_metrics import Parts, SelfMetrics
from collectors_dagster.collectors.runner import Column

MAX_METRICS_ASKED = 64
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_CONTENTS = """\
/metrics     Prometheus text format: this host as the agent sees it, and the agent itself
/health      200 while samples are taken and kept, 503 with the reasons otherwise
/v1/state    everything the agent knows of itself, and the newest value of every series
/v1/history  the last minute of chosen metrics: ?metrics=cpu_busy_seconds_total,load1
"""


class Pages:
    """Answers the endpoint's requests, in its thread.

    Parameters
    ----------
    status : callable
        What the agent says of itself.
    problems : callable
        What is wrong with settings and tenant files.

    Attributes
    ----------
    answers : dict
        Answers of the endpoint so far, by status: it counts into this.
    """

    def __init__(
        self, parts: Parts, status: Callable[[], dict[str, Any]], problems: Callable[[], tuple[str, ...]]
    ) -> None:
        self.answers: dict[int, int] = {}
        self._parts = parts
        self._status = status
        self._problems = problems
        self._self_metrics = SelfMetrics(parts)
        self._host = HostPage(())
        self._columns: tuple[Column, ...] = ()
        self._footprint = Footprint()
        self._routes: Mapping[str, Callable[[str], Answer]] = {
            "/": _contents,
            "/metrics": self._metrics_answer,
            "/health": self._health_answer,
            "/v1/state": self._state_answer,
            "/v1/history": self._history_answer,
        }

    def answer(self, request: Request) -> Answer:
        """Return what is at a path."""
        route = self._routes.get(request.path)
        if route is None:
            answer = Answer(HTTPStatus.NOT_FOUND, _TEXT, f"404 Not Found; there is:\n{_CONTENTS}".encode())
        else:
            answer = route(request.query)
        return answer

    def metrics(self) -> str:
        """Return the host's series and the agent's own."""
        snapshot = self._snapshot()
        if snapshot.columns is not self._columns:
            self._columns, self._host = snapshot.columns, HostPage(snapshot.columns)
        return self._host.text(snapshot.values) + self._self_metrics.text(self.answers)

    def health(self) -> Health:
        """Return how the agent is now."""
        parts = self._parts
        delivery, held = parts.delivery.progress, parts.spool.statistics
        failing = {name: t.last_error for name, t in parts.runner.tallies.items() if t.last_error}
        return judge(
            Signals(
                since_sweep_seconds=parts.clock.monotonic() - parts.observed.last_sweep,
                interval_seconds=parts.interval_seconds,
                spool_error=(held.last_error or "a sweep was lost") if parts.observed.spool_refuses else None,
                delivery_error=delivery.last_error,
                refused=dict(delivery.refused),
                failing_collectors=failing,
                problems=self._problems(),
            )
        )

    def state(self) -> dict[str, Any]:
        """Return everything: the status, and the newest value of each series."""
        snapshot = self._snapshot()
        return {
            **self._status(),
            "monotonic_seconds": self._parts.clock.monotonic(),
            "taken": self._parts.observed.taken(),
            "health": self.health().as_json(),
            "process": {"cpu_seconds": time.process_time(), "rss_bytes": self._footprint.resident_bytes()},
            "series": [
                {**_series(column), "value": _finite(value)}
                for column, value in zip(snapshot.columns, snapshot.values, strict=True)
            ],
        }

    def history(self, metrics: frozenset[str]) -> dict[str, Any]:
        """Return the remembered sweeps of some metrics."""
        sweeps = [
            {"monotonic_seconds": mono, "series": [{**_series(c), "value": _finite(v)} for c, v in seen]}
            for mono, seen in self._parts.observed.history(metrics)
        ]
        return {"sweeps": sweeps}

    def _snapshot(self) -> Snapshot:
        parts = self._parts
        return parts.observed.snapshot(parts.runner.tallies, parts.clock.monotonic(), parts.interval_seconds)

    def _metrics_answer(self, query: str) -> Answer:
        return Answer(HTTPStatus.OK, CONTENT_TYPE, self.metrics().encode("utf-8", "replace"))

    def _state_answer(self, query: str) -> Answer:
        return _json(HTTPStatus.OK, self.state())

    def _health_answer(self, query: str) -> Answer:
        health = self.health()
        return _json(HTTPStatus.SERVICE_UNAVAILABLE if health.failing else HTTPStatus.OK, health.as_json())

    def _history_answer(self, query: str) -> Answer:
        name, _, value = query.partition("=")
        metrics = frozenset(value.split(",")) - {""}
        if name != "metrics" or not metrics or len(metrics) > MAX_METRICS_ASKED:
            problem = f"say ?metrics=NAME,NAME with at most {MAX_METRICS_ASKED} names"
            return _json(HTTPStatus.BAD_REQUEST, {"error": problem})
        return _json(HTTPStatus.OK, self.history(metrics))


def _contents(query: str) -> Answer:
    return Answer(HTTPStatus.OK, _TEXT, _CONTENTS.encode())


def _series(column: Column) -> dict[str, Any]:
    metric = column.metric
    return {
        "collector": column.collector,
        "metric": metric.name,
        "labels": dict(column.labels),
        "kind": metric.kind.value,
        "unit": metric.unit,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json(status: HTTPStatus, content: Any) -> Answer:
    return Answer(status, _JSON, json.dumps(content).encode() + b"\n")
