from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collectors_dagster.monitoring.alerts import failure_message, incident_message, plan_alerts
from collectors_dagster.monitoring.wording import contribution_text, quantity, signal_name
from collectors_dagster.records import (
    Contribution,
    Incident,
    IncidentEvent,
    IncidentEventKind,
    RunFailure,
    Severity,
)
from collectors_dagster.tenants import AlertTarget, Tenant

AT = datetime(2026, 11, 22, 10, 2, tzinfo=UTC)
LOG, HOOK = AlertTarget("log", "log"), AlertTarget("webhook", "ops", "https://hook/s3cr3t")
AURORA = Tenant("aurora", "Aurora", alerts=(LOG, HOOK))
BOREALIS = Tenant("borealis", "Borealis", alerts=(LOG,))
INCIDENT = Incident(
    5,
    "aurora",
    "web-1",
    AT,
    AT,
    None,
    Severity.WARNING,
    0.97,
    "CPU utilization 97 %",
    (Contribution("cpu_utilization_ratio", 0.97, 0.02, 0.31, float("inf")),),
    "7",
)


def event(number: int = 1, kind: IncidentEventKind = IncidentEventKind.OPENED, **changes: object) -> IncidentEvent:
    return IncidentEvent(number, kind, AT, replace(INCIDENT, **changes))  # type: ignore[arg-type]  # any field


def test_each_event_goes_once_to_each_target_of_its_own_tenant_in_order() -> None:
    events = [event(1), event(2, IncidentEventKind.RESOLVED), event(3, tenant_id="borealis")]
    planned = plan_alerts(events, [AURORA, BOREALIS])
    assert [(one.source_id, one.message.tenant.id, one.target.name) for one in planned] == [
        (1, "aurora", "log"),
        (1, "aurora", "ops"),
        (2, "aurora", "log"),
        (2, "aurora", "ops"),
        (3, "borealis", "log"),
    ]
    assert len({(one.message.id, one.target.name) for one in planned}) == 5


def test_history_and_unknown_tenants_alert_nobody() -> None:
    assert plan_alerts([event(source="batch"), event(tenant_id="gone")], [AURORA]) == []


def test_the_same_event_always_has_the_same_id_and_secrets_stay_out() -> None:
    first, again = (plan_alerts([event()], [AURORA]) for _ in range(2))
    assert [one.message.id for one in first] == [one.message.id for one in again]
    assert "s3cr3t" not in repr(first)
    assert "s3cr3t" not in first[1].message.model_dump_json()


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        (IncidentEventKind.OPENED, {}, "[WARNING] web-1 (Aurora): CPU utilization 97 %"),
        (IncidentEventKind.UPDATED, {}, "[WARNING, update] web-1 (Aurora): CPU utilization 97 %"),
        (
            IncidentEventKind.RESOLVED,
            {"resolved_at": AT + timedelta(seconds=200)},
            "[RESOLVED after 4 min] web-1 (Aurora): CPU utilization 97 %",
        ),
        (
            IncidentEventKind.RESOLVED,
            {"resolved_at": AT + timedelta(hours=3)},
            "[RESOLVED after 3.0 h] web-1 (Aurora): CPU utilization 97 %",
        ),
    ],
)
def test_line_for_people_says_what_where_and_how_bad(
    kind: IncidentEventKind, changes: dict[str, object], text: str
) -> None:
    assert incident_message(event(1, kind, **changes), AURORA).text == text


def test_synthetic_tenants_are_marked() -> None:
    message = incident_message(event(), replace(AURORA, synthetic=True))
    assert message.tenant.synthetic
    assert "(Aurora, synthetic)" in message.text


def test_unknown_numbers_are_null_not_nan() -> None:
    message = incident_message(event(), AURORA)
    assert message.incident is not None
    assert message.incident.contributions[0].deviation is None


def test_failure_says_what_failed_in_one_line_and_is_cut() -> None:
    failure = RunFailure("aurora", "run-1", "run-1", "anomaly_scores", "  Boom\n" + "x" * 9999, AT)
    message = failure_message(failure, AURORA)
    assert message.text == "[FAILED] Aurora: anomaly_scores: Boom"
    assert message.failure is not None
    assert len(message.failure.error) == 500
    assert failure_message(replace(failure, error=""), AURORA).text.endswith("no message")


def test_a_signal_without_expectation_is_said_without_one() -> None:
    part = Contribution("memory_used_ratio", 0.98, float("nan"), float("nan"), 3.0)
    assert contribution_text(part) == "memory used 98 %"


@pytest.mark.parametrize(
    ("signal", "value", "said"),
    [
        ("cpu_utilization_ratio", 0.0, "0 %"),
        ("cpu_utilization_ratio", 0.012, "1.2 %"),
        ("disk_read_bytes_per_second", 512.0, "512 B/s"),
        ("disk_read_bytes_per_second", 5.2e13, "52.0 TB/s"),
        ("load_per_cpu", 2.04, "2.0"),
    ],
)
def test_values_carry_their_unit(signal: str, value: float, said: str) -> None:
    assert quantity(signal, value) == said


def test_every_signal_has_a_name_without_underscores() -> None:
    from collectors_dagster.features.signals import SIGNALS

    names = [signal_name(signal) for signal in SIGNALS]
    assert not any("_" in name for name in names)
    assert len(set(names)) == len(names)
