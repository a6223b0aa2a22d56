"""The code of the previous release goes on running on the schema of this one: deployments take turns."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.environment import clean_environment

BEFORE_EDITIONS = "1375c648619ab9a9fd91920c9763bfc4c9c44b58"
WITH_EDITIONS = "5b03e46cb7990cc2c9e219f1a2d622ab38dea093"
RELEASES = {Edition.PLAIN: BEFORE_EDITIONS, Edition.APACHE: BEFORE_EDITIONS, Edition.FULL: WITH_EDITIONS}
"""The last commit before the migrations that are newer than the previous release; moved on with each release.

No release before the editions ever met a schema of the full one; the other two look the same to it.
"""
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


@pytest.fixture
def previous(edition: Edition, tmp_path: Path) -> Path:
    """Return a tree of the previous release's code."""
    archive = subprocess.run(
        ["git", "-C", str(PROJECT_ROOT), "archive", RELEASES[edition], *PARTS], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history does not reach back to the previous release: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=archive.stdout, check=True)
    return tmp_path


@pytest.mark.every_edition
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
