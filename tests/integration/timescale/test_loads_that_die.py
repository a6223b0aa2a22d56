"""Loads that are cut off, wherever that is: nothing is half written, and the same load again gives the same rows."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.errors import CollectorsError, ServiceFailedError, ServiceUnreachableError
from collectors_dagster.integrations.timescale import DeliveryStore, Store, migrate
from collectors_dagster.integrations.timescale.sifting import Piece
from collectors_dagster.records import Window
from tests.support.environment import clean_environment
from tests.support.killed import killed_at_last
from tests.support.postgres import ACCOUNT, PostgresServer, crashed, running_postgres
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, axis, batch, checksum, day_of_samples
from tests.support.stream_writer import PIECE_ROWS
from tests.support.waiting import wait_until

ROWS, SERIES = 5 * PIECE_ROWS, 50
STREAMED = Window.of_day("2026-01-06")


@pytest.fixture
def tenants(store: Store) -> Store:
    """Return a store with two tenants, one of which has a day of samples."""
    store.tenants.sync([AURORA, BOREALIS])
    store.samples.write_window("borealis", "demo", DAY, **day_of_samples())  # type: ignore[arg-type]  # a dict of arguments
    return store


@contextmanager
def streaming(database: SecretStr, rows: int, series: int = SERIES) -> Iterator[subprocess.Popen[str]]:
    """Start a process that streams a window, as often as it is told to."""
    command = [sys.executable, "-m", "tests.support.stream_writer", "aurora", str(rows), str(series)]
    with killed_at_last(command, cwd=PROJECT_ROOT, env=clean_environment()) as process:
        assert process.stdin is not None
        process.stdin.write(database.get_secret_value())
        process.stdin.close()
        yield process


def streamed(database: SecretStr, rows: int, series: int = SERIES) -> dict[str, float]:
    """Let it come to its end; return what it says."""
    with streaming(database, rows, series) as process:
        assert process.stdout is not None
        said: dict[str, float] = json.loads(list(process.stdout)[-1])
    return said


def kept(database: SecretStr) -> dict[str, str]:
    """Return a checksum of every table but the aggregates, which the server may add up in another order each time."""
    return {table: value for table, value in checksum(database).items() if table not in {"sample_1h", "sample_1d"}}


@pytest.mark.every_edition
def test_a_load_killed_anywhere_and_run_again_is_the_load_that_was_never_killed(
    tenants: Store, database: SecretStr
) -> None:
    streamed(database, ROWS)
    (booked,) = tenants.ledger.entries("aurora", "stream", STREAMED)
    whole = kept(database)
    for piece in (0, 1, 3, 4):
        with streaming(database, ROWS) as process:
            assert process.stdout is not None
            assert f"{piece}\n" in iter(process.stdout.readline, "")  # reads up to there
            process.kill()
        wait_until(lambda: not busy(database), seconds=30, what="the end of the killed load's connection")
        assert kept(database) == whole
    tenants.samples.write_pieces(
        "aurora",
        "stream",
        STREAMED,
        series=[replace(LOAD1, collector="stream", host="host-stream")],
        pieces=(),
        run_id="x",
    )
    assert kept(database)["sample"] != whole["sample"]
    streamed(database, ROWS)
    (again,) = tenants.ledger.entries("aurora", "stream", STREAMED)
    assert (again.rows, again.sha256) == (booked.rows, booked.sha256)
    assert kept(database)["sample"] == whole["sample"]


def busy(database: SecretStr) -> bool:
    """Say whether a streaming process is still connected."""
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute("select count(*) from pg_stat_activity where application_name = 'stream'").fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.every_edition
def test_streaming_a_window_takes_no_more_memory_than_a_few_pieces(tenants: Store, database: SecretStr) -> None:
    said = streamed(database, 10 * PIECE_ROWS, series=1000)
    assert said["rows"] == 10 * PIECE_ROWS
    assert said["peak_megabytes"] - said["baseline_megabytes"] < 60


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Yield a server of this test's own, with a migrated database ``mine``."""
    with running_postgres() as server:
        server.create_database("mine")
        migrate(server.conninfo("mine"), clock=SystemClock())
        yield server


def halves() -> tuple[Piece, Piece]:
    """Return a day of one series in two pieces."""
    ts = axis(DAY, 10)
    first, second = ts[: len(ts) // 2], ts[len(ts) // 2 :]
    return (
        Piece(np.zeros(len(first), dtype=np.int64), first, np.arange(0.0, len(first))),
        Piece(np.zeros(len(second), dtype=np.int64), second, np.arange(0.0, len(second))),
    )


def test_a_server_that_dies_in_the_middle_of_a_load_loses_nothing_that_was_there(server: PostgresServer) -> None:
    def dying() -> Iterator[Piece]:
        first, second = halves()
        yield first
        with crashed(server):
            pass
        yield second

    server.execute("alter database {} set synchronous_commit = on", "mine")  # as it is outside of tests
    database = server.conninfo("mine")
    with Store(database, application_name="tests") as store:
        store.tenants.sync([AURORA, BOREALIS])
        store.samples.write_window("aurora", "other", DAY, **day_of_samples())  # type: ignore[arg-type]  # **: no types
        before = checksum(database)
        series = [replace(LOAD1, host="host-2")]
        with pytest.raises(ServiceUnreachableError, match="cannot load 'demo' of host-2 for tenant 'aurora'") as caught:
            store.samples.write_pieces("aurora", "demo", DAY, series=series, pieces=dying(), run_id="run-1")
        assert caught.value.transient
        assert {**checksum(database), "series": ""} == {**before, "series": ""}
        done = store.samples.write_pieces("aurora", "demo", DAY, series=series, pieces=halves(), run_id="run-1")
        assert done.rows == 8640


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Callable[[int], None]]:
    """Move the samples of a server to a file system of 24 MB; yield what makes it larger."""
    if ACCOUNT is None or shutil.which("mount") is None:
        pytest.skip("a file system of limited size can be mounted by root only")
    folder = Path(tempfile.mkdtemp(prefix="collectors-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "none", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")

    def resize(megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True)

    try:
        place = folder / "space"
        place.mkdir()
        shutil.chown(place, ACCOUNT or os.geteuid())
        server.execute(f"create tablespace small location '{place}'")
        server.execute("grant create on tablespace small to collectors")
        server.execute("alter database {} set default_tablespace = 'small'", "mine")
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # the server has files open there until it ends
        folder.rmdir()


def test_a_disk_that_fills_refuses_the_load_and_the_agent_and_loses_nothing(
    server: PostgresServer, small_disk: Callable[[int], None]
) -> None:
    database = server.conninfo("mine")
    large = day_of_samples(series=60, step=10)
    with Store(database, application_name="tests") as store, DeliveryStore(database, application_name="a") as agent:
        store.tenants.sync([AURORA, BOREALIS])
        store.samples.write_window("borealis", "demo", DAY, **day_of_samples())  # type: ignore[arg-type]  # **: no types
        agent.deliver(batch(1, 50, step=0.1))
        before = checksum(database)
        with pytest.raises(ServiceFailedError, match=r"of host-1 for tenant 'aurora'.*53100.*make room") as caught:
            store.samples.write_window("aurora", "demo", DAY, **large)  # type: ignore[arg-type]  # **: no types
        assert caught.value.transient
        assert {**checksum(database), "series": ""} == {**before, "series": ""}
        refusal = filled_by(agent)
        assert "samples of tenant 'aurora' from agent 'agent-1'" in str(refusal)
        assert refusal.transient
        small_disk(256)
        last = agent.delivered("agent-1", "epoch-1", "aurora")
        assert last is not None
        assert agent.deliver(batch(last.acked_seq + 1, last.acked_seq + 20_000, step=0.1)).rows == 20_000
        assert store.samples.write_window("aurora", "demo", DAY, **large).rows == 60 * 8640  # type: ignore[arg-type]  # **: no types


def filled_by(agent: DeliveryStore) -> CollectorsError:
    """Deliver until the disk is full; return what is said then."""
    for first in range(51, 2_000_000, 20_000):
        try:
            agent.deliver(batch(first, first + 19_999, step=0.1))
        except CollectorsError as error:
            return error
    raise AssertionError("the disk took everything")
