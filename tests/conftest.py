"""Fixtures for all: a real PostgreSQL and Redis per test session, a fresh migrated database per test."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from hypothesis import settings
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.integrations.timescale import DeliveryStore, Store, migrate
from collectors_dagster.integrations.timescale.edition import Edition
from tests.support.effort import times
from tests.support.gpus import StubNvml, build_nvml_stub, stubbed_nvml
from tests.support.postgres import PostgresServer, need_edition, running_postgres
from tests.support.redis import running_redis
from tests.support.redis_cluster import RedisCluster, running_cluster
from tests.support.shared_stores import PLACES, SharedPlace, in_memory, in_redis
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox

TEMPLATE = "collectors_template"
EDITIONS = [
    pytest.param(edition, id=edition.value, marks=[] if edition is Edition.PLAIN else [pytest.mark.timescaledb])
    for edition in Edition
]

# Generated examples are bounded in number; on a busy machine any one of them may be slow.
settings.register_profile("collectors", deadline=None, max_examples=times(40))
settings.load_profile("collectors")


LONG_FIRST = (
    "test_first_day.py",
    "test_stack.py",
    "test_agent.py",
    "test_daemon.py",
    "test_isolation.py",
    *("processes", "orchestration", "deploy", "integration"),
)
"""Files, then folders, that take long: begun last, one of them would be waited for alone."""


def pytest_configure() -> None:
    """Heed Ctrl-C in processes under test, although a shell that runs all this in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests so that long files come first; ``--no-loadscope-reorder`` keeps this order."""
    items.sort(
        key=lambda item: next((n for n, name in enumerate(LONG_FIRST) if name in item.path.parts), len(LONG_FIRST))
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the store that are marked so on every edition of the database."""
    if metafunc.definition.get_closest_marker("every_edition") and "edition" in metafunc.fixturenames:
        metafunc.parametrize("edition", EDITIONS)


@pytest.fixture
def edition() -> Edition:
    """Return the edition of the database."""
    return Edition.PLAIN


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Edition], PostgresServer]]:
    """Yield the servers (one per test worker and edition) that hold a migrated template database."""
    with ExitStack() as running:

        @cache
        def server(edition: Edition) -> PostgresServer:
            started = running.enter_context(running_postgres(edition))
            started.create_database(TEMPLATE)
            migrate(started.conninfo(TEMPLATE), clock=SystemClock())
            return started

        yield server


@pytest.fixture
def postgres(servers: Callable[[Edition], PostgresServer], edition: Edition) -> PostgresServer:
    """Return the server of this test's edition."""
    need_edition(edition)
    return servers(edition)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[SecretStr]:
    """Yield the address of a migrated database of this test's own."""
    name = f"test_{uuid4().hex[:12]}"
    postgres.create_database(name, TEMPLATE)
    yield postgres.conninfo(name)
    postgres.drop_database(name)


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[SecretStr]:
    """Yield the address of a database without any schema."""
    name = f"test_{uuid4().hex[:12]}"
    postgres.create_database(name)
    yield postgres.conninfo(name)
    postgres.drop_database(name)


@pytest.fixture
def store(database: SecretStr) -> Iterator[Store]:
    """Yield a store on this test's own database."""
    with Store(database, application_name="tests") as opened:
        yield opened


@pytest.fixture
def delivery_store(database: SecretStr) -> Iterator[DeliveryStore]:
    """Yield the agent's store on this test's own database."""
    with DeliveryStore(database, application_name="tests-agent") as opened:
        yield opened


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock that only this test moves."""
    return ManualClock()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Yield the URL of a server shared by all tests of this worker."""
    with running_redis() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Return the URL of an empty Redis."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session")
def cluster_server() -> Iterator[RedisCluster]:
    """Yield a Redis Cluster shared by all tests of this worker; skip where there is no server for it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(cluster_server: RedisCluster) -> RedisCluster:
    """Return a whole and empty Redis Cluster; what a test before broke is mended."""
    cluster_server.heal()
    cluster_server.empty()
    return cluster_server


@pytest.fixture(params=PLACES)
def shared_place(request: pytest.FixtureRequest) -> Iterator[SharedPlace]:
    """Yield an empty store of shared state: in memory, in Redis, in a Redis Cluster."""
    if request.param == "memory":
        yield in_memory()
    else:
        found = request.getfixturevalue("redis_url" if request.param == "redis" else "redis_cluster")
        with in_redis(found if isinstance(found, str) else found.url) as place:
            yield place


@pytest.fixture
def spotify_sandbox(manual_clock: ManualClock) -> Iterator[SpotifySandbox]:
    """Yield a local Spotify that runs by this test's clock."""
    with running_spotify_sandbox(clock=manual_clock) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stand-in for NVIDIA's library."""
    return build_nvml_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubNvml]:
    """Yield a machine with two invented GPUs."""
    with stubbed_nvml(nvml_library, tmp_path, monkeypatch) as stub:
        yield stub
