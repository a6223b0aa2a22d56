"""Advice is checked on the day its claim comes due, once, and what became of it is shown and kept."""

from dataclasses import replace
from datetime import timedelta

import pytest

from assets.advice import act_ahead, advice_text, checked_advice
from assets.champions import Champions
from assets.recall import Recall
from assets.work import TenantDay, Tools
from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.integrations.notify.message import AlertKind, AlertMessage
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.monitoring.alerting import deliver_alerts
from collectors_dagster.records import Claim, HealthReport, Recommendation, Statistic, Window
from collectors_dagster.tenants import AlertTarget
from resources.deployment import Deployment
from tests.orchestration.conftest import AURORA, BOREALIS, FolderRegistry, Tenants
from tests.support.histories import instant, quiet_host

FRAME = quiet_host(9 * 1440)
END = instant(FRAME)


def advice(low: float, high: float, end_hours: float = -3.0) -> Recommendation:
    end = END + timedelta(hours=end_hours)
    claim = Claim("cpu_utilization_ratio", Statistic.P95, low, high, end - timedelta(days=7), end)
    return Recommendation("downsize", "A smaller machine would do.", "p95 12 %", 0.5, claim=claim)


def report(*given: Recommendation, hours: float = -171.0) -> HealthReport:
    return HealthReport("quiet-1", END + timedelta(hours=hours), 100, (), given)


@pytest.fixture
def day(store: Store, registry: FolderRegistry) -> TenantDay:
    """Return the last day of the frame, over."""
    store.tenants.sync([AURORA, BOREALIS])
    deployment = Deployment(load_settings(), ManualClock(END), Tenants(AURORA))
    tools = Tools(store, registry, deployment, Recall(store), Champions(registry), "run")  # type: ignore[arg-type]  # a registry in a folder
    return TenantDay(tools, AURORA, END, Window(END - timedelta(days=1), END))


def test_claims_that_came_due_today_are_judged_and_kept(day: TenantDay, store: Store) -> None:
    store.health.write("aurora", [report(advice(0.0, 0.3), advice(0.5, 0.9)), report(advice(0.0, 0.3), hours=-170.0)])
    store.health.write("borealis", [report(advice(0.0, 0.3))])
    shown = checked_advice(day, [FRAME])
    assert shown["advice_came_true"].value == "2 of 3"
    assert "| quiet-1 | downsize |" in str(shown["advice_due"].value)
    assert "came true" in str(shown["advice_due"].value)
    since = Window(END - timedelta(days=9), END)
    kept = [[one.outcome for one in each.recommendations] for each in store.health.advised("aurora", since)]
    assert kept == [[True, False], [True]]
    assert [one.outcome for each in store.health.advised("borealis", since) for one in each.recommendations] == [None]
    assert checked_advice(day, [FRAME])["advice_came_true"].value == "2 of 3"


def test_claims_of_other_days_wait(day: TenantDay, store: Store) -> None:
    store.health.write(
        "aurora", [report(advice(0.0, 0.3, end_hours=2.0)), report(advice(0.0, 0.3, -30.0), hours=-180.0)]
    )
    assert checked_advice(day, [FRAME])["advice_came_true"].value == "none came due"


def test_a_host_that_is_gone_cannot_be_judged(day: TenantDay, store: Store) -> None:
    store.health.write("aurora", [report(advice(0.0, 0.3))])
    shown = checked_advice(day, [])
    assert shown["advice_came_true"].value == "none came due"
    assert "cannot be told" in str(shown["advice_due"].value)


def peak(hours: float) -> HealthReport:
    at = END + timedelta(hours=hours)
    claim = Claim("cpu_utilization_ratio", Statistic.MAX, 0.8, 1.0, at, at + timedelta(hours=2))
    return report(Recommendation("peak", "A peak is expected.", "expected 90 %", 0.8, claim=claim), hours=0.0)


def test_a_peak_is_told_once_before_it_comes_and_reaches_the_targets(day: TenantDay, store: Store) -> None:
    settings = load_settings(strategies={"peak_alerts": True})
    told = Deployment(settings, ManualClock(END), Tenants(AURORA))
    present = replace(
        day,
        tools=replace(day.tools, deployment=told),
        window=Window(END - timedelta(hours=9), END + timedelta(hours=15)),
    )
    assert act_ahead(replace(day, window=present.window), [peak(5)]) == {}  # off by default
    assert act_ahead(present, [peak(5), peak(0.2)])["peaks_expected"].value == 1  # too near to act on
    assert act_ahead(present, [peak(5.1)])["peaks_told"].value == "nothing new"
    sent: list[AlertMessage] = []

    class Outbox:
        def send(self, target: AlertTarget, message: AlertMessage) -> None:
            sent.append(message)

    deliver_alerts(store, [AURORA], 0, sender=Outbox(), clock=ManualClock(END))
    [message] = sent
    assert message.kind is AlertKind.PEAK_EXPECTED
    assert message.outlook is not None
    assert (message.outlook.host, message.consent, message.failure) == ("quiet-1", None, None)
    assert message.text == "[PEAK EXPECTED] Aurora: quiet-1: A peak is expected. expected 90 %; 80 % sure"
    assert act_ahead(replace(present, window=day.window), [peak(5)]) == {}  # a day that is over


def test_advice_says_what_it_saves_and_how_sure_it_is() -> None:
    saving = Recommendation("downsize", "Less would do.", "", 0.45, saving_per_month=60.0, currency="EUR")
    assert advice_text(saving) == "Less would do. (saves about 60 EUR a month, 45 % sure)"
