"""A new incident is like the earlier one in which the same signals deviated the same way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.monitoring.likeness import likeness, nearest_earlier
from collectors_dagster.monitoring.wording import rarity_text
from collectors_dagster.records import Contribution, Incident, Severity

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def part(signal: str, deviation: float, *, falls: bool = False) -> Contribution:
    return Contribution(signal, 0.1 if falls else 0.9, 0.2, 0.4, deviation)


def incident(days_ago: float, *parts: Contribution, host: str = "web-1", number: int = 1) -> Incident:
    at = NOON - timedelta(days=days_ago)
    over = at + timedelta(minutes=5)
    return Incident(number, "aurora", host, at, at, over, Severity.WARNING, 0.97, "busy", parts, "3")


CPU, DISK = part("cpu_utilization_ratio", 12.0), part("disk_busy_ratio", 6.0)
NEW = incident(0, CPU, DISK)


def test_the_most_alike_is_found_and_of_equals_the_newest() -> None:
    cpu_only, same, older = incident(1, CPU, number=2), incident(3, CPU, DISK, number=3), incident(9, CPU, DISK)
    assert nearest_earlier(NEW, [older, cpu_only, same, NEW]) == same


def test_other_hosts_other_signals_falls_and_later_ones_are_not_like_it() -> None:
    others = [
        incident(1, CPU, DISK, host="web-2"),
        incident(1, part("memory_used_ratio", 20.0)),
        incident(1, part("cpu_utilization_ratio", 12.0, falls=True)),
        incident(-1, CPU, DISK),
        replace(incident(1, CPU, DISK), resolved_at=None),
        incident(1),
    ]
    assert nearest_earlier(NEW, others) is None
    assert nearest_earlier(incident(0), [incident(1)]) is None


def test_the_same_episode_told_by_history_is_not_earlier_than_itself() -> None:
    assert nearest_earlier(NEW, [replace(NEW, opened_at=NOON - timedelta(minutes=2))]) is None


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=5), st.lists(st.floats(0.1, 20), min_size=1, max_size=5))
def test_likeness_is_mutual_and_one_with_itself(mine: list[float], its: list[float]) -> None:
    one, other = (incident(0, *(part(f"s{n}", value) for n, value in enumerate(own))) for own in (mine, its))
    assert likeness(one, other) == likeness(other, one)
    assert 0.0 <= likeness(one, other) <= 1.0 + 1e-9
    assert abs(likeness(one, one) - 1.0) < 1e-9


@given(st.floats(0, 1))
def test_a_higher_score_is_never_said_to_be_more_common(score: float) -> None:
    def spans(of: float) -> int:
        return int(rarity_text(of).rpartition(" ")[2].replace(",", ""))

    assert spans(score) <= spans(min(1.0, score + 0.05))
