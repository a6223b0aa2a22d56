"""The resource by which runs and ticks share state, in processes of their own as Dagster's are."""

import subprocess
import sys
from pathlib import Path

from collectors_dagster.config.settings import PROJECT_ROOT
from tests.support.environment import clean_environment

PROGRAM = """
import sys
import dagster as dg
from resources.shared_state import shared_state_resource
from collectors_dagster.integrations.redis.check import STORE_CHECK
from collectors_dagster.errors import SharedStateUnavailableError

for _ in range(2):  # two ticks of one process
    with dg.build_resources({"shared_state": shared_state_resource}) as resources:
        try:
            print(len(resources.shared_state.store().run(STORE_CHECK, "aurora:test:a")), file=sys.stderr)
        except SharedStateUnavailableError as error:
            print(error.kind, file=sys.stderr)  # the log has the other channel
"""


def said(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=PROJECT_ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.split()


def test_runs_and_ticks_reach_the_configured_redis(redis_url: str, tmp_path: Path) -> None:
    slow = {f"COLLECTORS__REDIS__{name}_TIMEOUT_SECONDS": "2" for name in ("CONNECT", "ANSWER")}
    assert said(COLLECTORS_HOME=str(tmp_path), COLLECTORS__REDIS__URL=redis_url, **slow) == ["1", "1"]


def test_what_one_tick_learnt_of_an_outage_the_next_one_knows(tmp_path: Path) -> None:
    assert said(COLLECTORS_HOME=str(tmp_path), COLLECTORS__REDIS__URL="redis://127.0.0.1:1") == [
        "unreachable",
        "paused",
    ]
