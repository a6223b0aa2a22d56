"""Refused batches on disk: sealed where the spool is, and readable only with the key."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.agent.quarantine import Quarantine
from collectors_dagster.errors import SpoolError
from collectors_dagster.integrations.timescale.delivery import DeliveryBatch, DeliveryNote
from collectors_dagster.records import ClockEvent, ClockEventKind
from collectors_dagster.samples import Kind, Sample, SeriesKey
from collectors_dagster.security.sealing import Sealer

AT = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = SeriesKey("web-1", "cgroup", "cgroup_pids", (("cgroup", "/shop.slice"),), "threads", Kind.GAUGE)
BATCH = DeliveryBatch(
    agent_id="a1",
    epoch="e1",
    tenant_id="aurora",
    first_seq=3,
    last_seq=12,
    samples=[Sample(SERIES, AT, 23.5)],
    notes=[DeliveryNote("web-1", "cgroup", AT, 1, 0.5, 80)],
    clock_events=[ClockEvent("web-1", AT, ClockEventKind.STEP, 2.0)],
)
OLD, NEW = bytes(32), bytes(range(32))


def quarantine(directory: Path, *keys: bytes) -> Quarantine:
    return Quarantine(directory, 1024**2, Sealer(keys) if keys else None)


def kept_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_a_sealed_batch_tells_nobody_anything_and_comes_back_whole(tmp_path: Path) -> None:
    name = quarantine(tmp_path, NEW).keep(BATCH, "no_odd_ones", AT)
    content = kept_file(tmp_path).read_bytes()
    assert not any(word in content for word in (b"aurora", b"shop", b"cgroup", b"no_odd_ones", b"23.5", b"web-1"))
    found = quarantine(tmp_path, NEW).read(name)
    assert (found.batch, found.reason, found.at) == (BATCH, "no_odd_ones", AT)


def test_plain_batches_of_before_and_those_under_an_older_key_stay_readable(tmp_path: Path) -> None:
    plain = quarantine(tmp_path).keep(BATCH, "plain", AT)
    older = quarantine(tmp_path, OLD).keep(dataclasses.replace(BATCH, tenant_id="borealis"), "older", AT)
    now = quarantine(tmp_path, NEW, OLD)
    assert [now.read(plain).reason, now.read(older).reason] == ["plain", "older"]


@pytest.mark.parametrize("keys", [(), (OLD,)])
def test_a_batch_whose_key_is_missing_is_not_called_damaged_and_can_be_dropped(
    tmp_path: Path, keys: tuple[bytes, ...]
) -> None:
    name = quarantine(tmp_path, NEW).keep(BATCH, "no_odd_ones", AT)
    locked = quarantine(tmp_path, *keys)
    with pytest.raises(SpoolError, match=r"sealed.*add that key.*agent\.spool_keys_file"):
        locked.read(name)
    assert locked.names() == [name]
    locked.remove(name)
    assert locked.names() == []


def test_a_sealed_batch_opens_only_under_its_own_name(tmp_path: Path) -> None:
    kept = quarantine(tmp_path, NEW)
    name = kept.keep(BATCH, "no_odd_ones", AT)
    kept_file(tmp_path).rename(tmp_path / f"{name}-moved.json")
    with pytest.raises(SpoolError, match=r"cannot be read.*drop it"):
        kept.read(f"{name}-moved")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damaged=st.binary(max_size=80)
    | st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)).map(
        lambda sealed: json.dumps({"version": 2, "sealed": sealed}).encode()
    )
)
def test_a_damaged_file_is_an_error_that_says_so(tmp_path: Path, damaged: bytes) -> None:
    kept = quarantine(tmp_path, NEW)
    name = kept.keep(BATCH, "no_odd_ones", AT)
    kept_file(tmp_path).write_bytes(damaged)
    with pytest.raises(SpoolError, match="drop"):
        kept.read(name)
