"""The code of the previous release goes on running on the schema of this one: deployments take turns."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors_dagster.config.settings import PROJECT_ROOT
from tests.support.environment import clean_environment

RELEASE = "1375c648619ab9a9fd91920c9763bfc4c9c44b58"
"""The last commit before the migrations that are newer than the previous release; moved on with each release."""
PARTS = ("collectors_dagster", "tests/support", "tests/conformance/test_store.py")
EVERYTHING = """
import sys
import psycopg
from pydantic import SecretStr
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from tests.conformance.test_store import OPERATIONS
from tests.support.store_data import AURORA, BOREALIS, DAY, batch, checksum

database = SecretStr(sys.stdin.read())
with Store(database, application_name="old") as store, DeliveryStore(database, application_name="old") as agent:
    store.tenants.sync([AURORA, BOREALIS])
    assert agent.deliver(batch(1, 9)).rows == 9
    for name, operation in OPERATIONS.items():
        operation(store, "aurora")
        once = checksum(database)
        operation(store, "aurora")
        assert checksum(database) == once, name
    print(len(OPERATIONS), store.samples.hosts("aurora", DAY))
"""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of the previous release's code."""
    tree = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(
        ["git", "-C", str(PROJECT_ROOT), "archive", RELEASE, *PARTS], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history does not reach back to the previous release: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return tree


def test_every_operation_of_the_previous_release_works_on_the_new_schema(previous: Path, database: SecretStr) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        cwd=previous,
        env=clean_environment(PYTHONPATH=str(previous)),
        input=database.get_secret_value(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 [")
