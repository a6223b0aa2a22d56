"""The page of resilience figures shows what was measured, and what was not."""

from bench.report import Goal, Report
from bench.resilience_page import SECTIONS, page


def report(*goals: Goal, **detail: object) -> dict[str, object]:
    return Report("patterns", goals, detail).as_dict()


def test_a_peer_that_fails_stays_in_its_row() -> None:
    goal = Goal("20 processes x 5 doomed calls", 10, 12)
    peers = {goal.name: {"pybreaker": 10, "purgatory": "fails: TypeError: a | b"}}
    text = page([report(goal, peers=peers, versions={"pybreaker": "1.4.1"})])
    row = "| 20 processes x 5 doomed calls | 10 | ≤ 12 | yes | pybreaker: 10; purgatory: fails: TypeError: a \\| b |"
    assert row in text
    assert "pybreaker 1.4.1" in text


def test_a_goal_that_is_missed_says_so() -> None:
    assert "| rounds of 20 in all | 19 | ≥ 20 | **no** |  |" in page(
        [report(Goal("rounds of 20 in all", 19, 20, "higher"))]
    )


def test_what_was_not_measured_is_named() -> None:
    text = page([])
    assert all(f"## {title}" in text for title, _ in SECTIONS)
    assert text.count("not measured") == sum(len(beginnings) for _, beginnings in SECTIONS)
