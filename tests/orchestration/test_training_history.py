"""What a training leaves out and what it learns, of incidents and of what people said about them; on a real store."""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest

from assets.champions import Champions
from assets.recall import Recall
from assets.training import train_anomaly_model
from assets.work import TenantWork, Tools
from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.features.feature_set import compute
from collectors_dagster.frames import SignalFrame
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.records import Incident, IncidentEventKind, Severity, Verdict, Window
from resources.deployment import Deployment
from tests.orchestration.conftest import AURORA, FolderRegistry, Tenants
from tests.support.histories import CPU, cut, instant, quiet_host

DAY = 1440
HOST = "quiet-1"
BUSY = 0.6
"""Far above anything that the quiet host does, below every physical limit."""


@dataclass
class Training:
    """A tenant with one host's history, incidents in it, and trainings of it."""

    store: Store
    registry: FolderRegistry
    frame: SignalFrame

    def __post_init__(self) -> None:
        self.store.tenants.sync([AURORA])
        for first in range(0, len(self.frame.ts), DAY):
            part = cut(self.frame, first, first + DAY)
            day = Window.of_day(f"{instant(part, 0):%Y-%m-%d}")
            self.store.features.write("aurora", day, [compute(None, part)], "run")
        self.now = instant(self.frame) + timedelta(minutes=1)

    def busy(self, rows: slice) -> int:
        """Open and resolve an incident over some rows; return its number."""
        start, end = instant(self.frame, rows.start - 1), instant(self.frame, rows.stop - 1)
        incident = Incident(
            id=None,
            tenant_id="aurora",
            host=HOST,
            opened_at=start,
            updated_at=start,
            resolved_at=None,
            severity=Severity.WARNING,
            peak_score=0.97,
            title="CPU utilization 60 %",
            contributions=(),
            model_version="1",
        )
        [stored] = self.store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident)])
        over = replace(stored, resolved_at=end, updated_at=end)
        self.store.incidents.apply("aurora", [(IncidentEventKind.RESOLVED, over)])
        assert stored.id is not None
        return stored.id

    def say(self, number: int, verdict: Verdict) -> None:
        self.store.feedback.say("aurora", number, verdict, reason="", said_by="ann", said_at=self.now)

    def score_of_the_like(self) -> float:
        """Train, and score a minute that is as busy as the episodes were."""
        deployment = Deployment(load_settings(), ManualClock(self.now), Tenants(AURORA))
        tools = Tools(self.store, self.registry, deployment, Recall(self.store), Champions(self.registry), "run")  # type: ignore[arg-type]  # a registry in a folder
        train_anomaly_model(TenantWork(tools, AURORA, self.now))
        champion = self.registry.champion("aurora", "anomaly")
        assert champion is not None
        detector = TenantDetector.load(champion.path, champion.version).detector(HOST)
        rows = quiet_host(320, first=len(self.frame.ts))  # up to the time of day of the episodes
        rows.values[-3:, CPU] = BUSY
        return max(one.score for one in detector.score(rows, None)[-3:])


def history(*busy: slice, days: int = 3) -> SignalFrame:
    frame = quiet_host(days * DAY)
    for rows in busy:
        frame.values[rows, CPU] = BUSY + 0.002 * np.random.default_rng(rows.start).standard_normal(
            rows.stop - rows.start
        )
    return frame


LONG = slice(2 * DAY + 300, 2 * DAY + 560)
"""Six per cent of three days: too much to be left out as the history's own exceptions."""


def test_minutes_of_an_incident_are_not_learned_unless_a_person_calls_them_normal(
    store: Store, registry: FolderRegistry
) -> None:
    training = Training(store, registry, history(LONG))
    assert training.score_of_the_like() < 0.9  # nobody ever alerted: that is how this host is
    number = training.busy(LONG)
    assert training.score_of_the_like() >= 0.9
    training.say(number, Verdict.NORMAL)
    assert training.score_of_the_like() < 0.9
    training.store.feedback.forget("aurora", number)
    assert training.score_of_the_like() >= 0.9


def test_what_comes_back_on_three_days_is_learned_unless_a_person_calls_it_real(
    store: Store, registry: FolderRegistry
) -> None:
    episodes = [slice(day * DAY + 300, day * DAY + 390) for day in range(4)]
    training = Training(store, registry, history(*episodes, days=4))
    numbers = [training.busy(rows) for rows in episodes]
    assert training.score_of_the_like() < 0.9
    for number in numbers:
        training.say(number, Verdict.REAL)
    assert training.score_of_the_like() >= 0.9


@pytest.mark.parametrize("normal", [False, True])
def test_a_detector_leaves_its_own_exceptions_out_but_not_those_a_person_calls_normal(*, normal: bool) -> None:
    short = slice(2 * DAY + 300, 2 * DAY + 330)
    frame = history(short)
    span = Window(instant(frame, short.start - 1), instant(frame, short.stop - 1))
    detector = TenantDetector.fit({HOST: [frame]}, seed=0, normal={HOST: [span]} if normal else None).detector(HOST)
    rows = quiet_host(30, first=3 * DAY)
    rows.values[-3:, CPU] = BUSY
    assert (max(one.score for one in detector.score(rows, None)[-3:]) >= 0.9) is not normal
