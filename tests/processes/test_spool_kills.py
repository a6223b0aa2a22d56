"""Fifty deaths while writing: what was acknowledged is there, once, in the spool and in the database."""

import random
import subprocess
import sys
from pathlib import Path

import psycopg
from pydantic import SecretStr

from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.clock import ManualClock
from collectors_dagster.integrations.timescale import DeliveryStore
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.spools import HEADER, open_spool, read_spool

REPOSITORY = Path(__file__).parents[2]
KILLS = 50
SEED = 20261125
START_NS = 1_767_225_600 * 10**9
AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load", "disk"), collection_interval_seconds=1.0))


def killed_after(directory: Path, records: int) -> set[int]:
    """Let a writer write that much, kill it in the middle of something, and return what it had acknowledged."""
    command = [sys.executable, "-m", "tests.support.spool_writer", str(directory), str(START_NS)]
    writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(records)]
    writer.kill()
    rest = writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    writer.wait()
    return {*acknowledged, *(int(line) for line in rest if line.endswith("\n"))}


def test_fifty_kills_lose_no_acknowledged_sample_and_double_none(
    database: SecretStr, tmp_path: Path, manual_clock: ManualClock
) -> None:
    directory, moments = tmp_path / HEADER.epoch, random.Random(SEED)
    directory.mkdir()
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        numbers = killed_after(directory, moments.randrange(1, 120))
        assert not numbers & acknowledged
        acknowledged |= numbers
    open_spool(directory, manual_clock).close()
    seen = read_spool(directory)
    assert acknowledged <= {each.seq for each in seen}
    assert len(seen) <= len(acknowledged) + KILLS  # a sample in flight may have been written before it was told
    assert [each.values for each in seen] == [(float(each.seq), 7.0 * each.seq) for each in seen]
    stored = delivered(database, tmp_path, manual_clock)
    assert len(stored) == len(set(stored))
    assert {int(value) for value in stored} >= acknowledged - {seen[-1].seq}  # its second is not over


def delivered(database: SecretStr, root: Path, clock: ManualClock) -> list[float]:
    """Deliver the whole spool and return the values of the load, which are the records' numbers."""
    identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, root)
    policies = Policies(
        CircuitBreaker("d", BreakerPolicy(1000, 1), classify=failed_if_transient, clock=clock),
        local_rate_limiter("d", RatePolicy(1000, 1000), clock=clock),
        Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 1.0),
    )
    with DeliveryStore(database, application_name="tests") as store:
        delivery = Delivery(
            identity, lambda: store, policies, clock, sample_interval_seconds=1.0, quarantine_bytes=10**6
        )
        delivery.follow(TenantDirectory((AURORA,)), 0)
        for _ in range(60):
            delivery.turn()
            clock.sleep(1)
        delivery.close()
    query = "select value from core.sample join core.series using (series_id) where metric = 'load1'"
    with psycopg.connect(database.get_secret_value()) as connection:
        return [row[0] for row in connection.execute(query.encode())]
