"""docs/agent-operations.md says what the code does."""

import re
from pathlib import Path

from collectors_dagster.agent import self_metrics
from collectors_dagster.agent.exposition import Family
from collectors_dagster.config.fields import leaves
from collectors_dagster.config.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "agent-operations.md").read_text()


def test_every_metric_of_the_agent_itself_is_described_and_no_other() -> None:
    families = [each for each in vars(self_metrics).values() if isinstance(each, Family)]
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(families) > 20
    assert rows == [tuple(family) for family in families]


def test_metrics_in_the_alerts_are_served() -> None:
    known = {each.name for each in vars(self_metrics).values() if isinstance(each, Family)}
    named = set(re.findall(r"\b(collectors?_\w+|circuit_breaker_\w+)\b", PAGE)) - {"collectors_dagster"}
    assert {name for name in named if not name.startswith("collectors_host_")} <= known


def test_settings_and_files_named_are_real() -> None:
    settings = {".".join(path) for path, _ in leaves(Settings)}
    named = set(re.findall(r"`((?:agent|ports|log)\.\w+)", PAGE))
    assert len(named) >= 5
    assert named <= settings
    files = set(re.findall(r"\bdeploy/agent/[\w.-]*\w", PAGE))
    assert len(files) == 3
    assert all((ROOT / name).is_file() for name in files)
