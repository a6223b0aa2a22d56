"""What Dagster loads: complete, light, and what the last person who changed it meant."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.partitions import check_partition_budget, first_day
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.definitions import composed
from collectors_dagster.errors import ConfigurationError
from sensors.schedules import SCHEDULES
from sensors.spotify import SPOTIFY_SCHEDULES
from tests.support.environment import clean_environment

SNAPSHOT = Path(__file__).parent / "definitions.json"
HEAVY = (
    *("redis", "numpy", "pandas", "sklearn", "mlflow", "pynvml", "httpx", "matplotlib", "skops"),
    *("collectors_dagster.collectors.spotify", "collectors_dagster.integrations.timescale.spotify"),
)


def described() -> dict[str, object]:
    """Return the definitions as plain data, without what changes every day."""
    definitions = composed()
    graph = definitions.resolve_asset_graph()
    return {
        "assets": {
            key.to_user_string(): {
                "group": (node := graph.get(key)).group_name,
                "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
                "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
                "kinds": sorted(node.kinds),
                "owners": sorted(node.owners),
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "checks": sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys),
        "jobs": sorted(job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")),
        "schedules": {one.name: str(one.cron_schedule) for one in (*SCHEDULES, *SPOTIFY_SCHEDULES)},
        "sensors": {one.name: one.minimum_interval_seconds for one in definitions.sensors or ()},
    }


def test_the_definitions_are_what_is_written_down() -> None:
    """Whoever changes them on purpose writes the file anew: `python -m tests.orchestration.test_definitions`."""
    assert described() == json.loads(SNAPSHOT.read_text())


def test_every_asset_says_what_it_is() -> None:
    graph = composed().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert len(graph.get(key).description or "") > 40, key


def test_dagster_finds_nothing_wrong_from_any_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(PROJECT_ROOT / "workspace.yaml")]
    environment = clean_environment(PYTHONPATH=str(PROJECT_ROOT))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    program = f"import collectors_dagster.definitions, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=PROJECT_ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_schedule_that_asks_who_delivered_imports_no_numpy() -> None:
    program = "import collectors_dagster.integrations.timescale.samples, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_scheduled_run_of_a_day_is_one_step() -> None:
    """A step per stage would lose the isolation of tenants, and cost a process start each with another executor."""
    job = composed().resolve_job_def("tenant_day")
    assert [node.name for node in job.graph.nodes] == ["tenant_day_chain"]


def test_today_is_a_partition_and_the_range_begins_as_many_days_ago_as_configured() -> None:
    now = SystemClock().now()
    graph = composed().resolve_asset_graph()
    partitions = graph.get(dg.AssetKey("collection_run")).partitions_def
    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    days = partitions.get_partitions_def_for_dimension("window").get_partition_keys()
    assert days[-1] == f"{now:%Y-%m-%d}"
    assert len(days) == 30
    assert days[0] == first_day(now, 30)


def test_many_partitions_are_warned_of_and_too_many_refused() -> None:
    assert check_partition_budget(1000, 30) == 30_000
    with pytest.warns(UserWarning, match="60,000 partitions"):
        check_partition_budget(2000, 30)
    with pytest.raises(ConfigurationError, match=r"lower dagster\.partition_days"):
        check_partition_budget(4000, 30)


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1) + "\n")
