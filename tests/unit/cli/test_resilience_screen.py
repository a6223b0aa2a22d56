"""What ``collectors resilience status`` shows, drawn on terminals of different width."""

from collections import Counter
from io import StringIO

import pytest
from rich.console import Console

from collectors_dagster.cli.resilience_json import as_document
from collectors_dagster.cli.resilience_screen import picture
from collectors_dagster.patterns.breaker_policy import Phase
from collectors_dagster.patterns.circuit_breaker import BreakerReport, Transition
from collectors_dagster.patterns.metrics import Series
from collectors_dagster.patterns.overview import (
    BulkheadView,
    CircuitView,
    LeaderView,
    LimiterView,
    Overview,
    SharesView,
)

OPENED = Transition(12.0, Phase.CLOSED, Phase.OPEN, "failures")
BY_HAND = Transition(7300.0, Phase.CLOSED, Phase.DISABLED, "by hand: ann: [bold]maintenance[/bold]")
FULL = Overview(
    circuits=[
        CircuitView(
            "timescaledb",
            "shared",
            BreakerReport(Phase.OPEN, 3.25, 5, 5, 0, 0, alone=False, history=(OPENED,), transitions=1),
        ),
        CircuitView(
            "notifications.ops.1a2b",
            "acme",
            BreakerReport(Phase.DISABLED, 0, 0, 0, 0, 0, alone=False, history=(BY_HAND,), transitions=1),
        ),
        CircuitView("mlflow", "shared", BreakerReport(Phase.HALF_OPEN, 0, 2, 1, 1, 1, alone=False, history=())),
    ],
    limiters=[
        LimiterView("notifications.ops.1a2b", "acme", "bucket", 5.0, 0.4, 90.0, 3),
        LimiterView("spotify", "", "log", 2.0, None, 0.0, 1),
    ],
    bulkheads=[BulkheadView("exports", "", 4, 4, 2)],
    leaders=[LeaderView("scorer", "", "host-1", 7, 12.0), LeaderView("janitor", "", "", 0, 0.0)],
    shares=[SharesView("spotify", ("one", "two"), {"acme": "one", "aurora": "one", "bolt": "two"})],
    sums=Counter(
        {
            Series("circuit_breaker_calls_total", ("timescaledb", "success")): 1234,
            Series("circuit_breaker_calls_total", ("timescaledb", "rejected")): 17,
        }
    ),
)


def drawn(found: Overview, width: int) -> str:
    console = Console(file=StringIO(), width=width, record=True, force_terminal=True)
    console.print(picture(found, "127.0.0.1:6379", 10, width))
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_everything_is_there_and_nothing_is_wider_than_the_terminal(width: int) -> None:
    text = drawn(FULL, width)
    assert max(map(len, text.splitlines())) <= width
    joined = "".join(text.split())
    if width < 80:
        return  # names are folded there
    for shown in ("timescaledb", "acme/notifications.ops.1a2b", "open", "disabled", "halfopen", "3.2s", "5of5failed"):
        assert shown in joined
    for shown in ("1min30s", "one2,two1", "nobody", "host-1", "exports", "[bold]maintenance[/bold]", "2h1min"):
        assert shown in joined
    assert ("1234" in joined) == (width >= 100)  # what was counted needs room


def test_a_probe_that_is_due_is_due_now() -> None:
    [line] = [line for line in drawn(FULL, 140).splitlines() if line.startswith("mlflow")]
    assert "now" in line
    assert "1 of 2 failed, 1 slow, probes out: 1" in line


def test_the_latest_change_comes_first() -> None:
    text = drawn(FULL, 120)
    assert text.index("12.0 s") < text.index("2 h 1 min")


def test_shared_state_that_is_away_is_said_with_what_that_means() -> None:
    text = drawn(Overview(away={"": "timeout"}), 100)
    assert "local" in text
    assert "timeout; every process decides alone" in text
    assert "partly local  10.0.0.1:7000: unreachable" in drawn(Overview(away={"10.0.0.1:7000": "unreachable"}), 100)


def test_nothing_yet_is_no_fault() -> None:
    assert "No circuit yet" in drawn(Overview(), 100)


def test_the_document_holds_the_same() -> None:
    document = as_document(FULL, "127.0.0.1:6379")
    assert document["store"]["mode"] == "shared"
    assert [circuit["state"] for circuit in document["circuits"]] == ["open", "disabled", "half_open"]
    assert document["circuits"][0]["history"] == [
        {"seconds_ago": 12.0, "before": "closed", "after": "open", "reason": "failures"}
    ]
    assert document["counts"] == {"timescaledb": {"rejected": 17, "success": 1234}}
    away = as_document(Overview(away={"": "timeout"}), "127.0.0.1:6379")
    assert away["store"]["away"] == [{"node": "127.0.0.1:6379", "reason": "timeout"}]
