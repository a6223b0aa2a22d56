"""Names, epochs, locks and beginnings that outlive a restart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectors_dagster.agent.identity import load_identity, read_boot_id
from collectors_dagster.agent.lock import spool_lock
from collectors_dagster.agent.positions import Positions
from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SpoolError
from tests.support.spools import append_seconds, open_spool
from tests.support.trees import recorded_host


def test_an_agent_keeps_its_name_and_its_epoch(tmp_path: Path, manual_clock: ManualClock) -> None:
    first = load_identity(tmp_path)
    append_seconds(open_spool(first.directory, manual_clock), manual_clock, [(1.0, 1.0)])
    assert load_identity(tmp_path) == first


def test_a_spool_that_lost_its_samples_begins_a_new_epoch_under_the_same_name(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    first = load_identity(tmp_path)
    append_seconds(open_spool(first.directory, manual_clock), manual_clock, [(1.0, 1.0)])
    for segment in first.directory.glob("*.seg"):
        segment.unlink()
    second = load_identity(tmp_path)
    assert second.agent_id == first.agent_id
    assert second.epoch != first.epoch


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"agent_id": "../x", "epoch": "/etc"}', b'{"epoch": 7}'])
def test_a_damaged_identity_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    identity = load_identity(tmp_path)
    assert identity.directory.parent == tmp_path
    assert identity.directory.is_dir()
    assert "/" not in identity.agent_id


def test_the_boot_is_told_by_the_kernel_or_taken_as_new(tmp_path: Path) -> None:
    recorded = recorded_host("linux-6.18").proc_root
    assert read_boot_id(recorded) == read_boot_id(recorded) == "00000000-0000-4000-8000-000000000618"
    assert read_boot_id(tmp_path) != read_boot_id(tmp_path)


def test_a_second_agent_is_refused_and_told_who_holds_the_spool(tmp_path: Path) -> None:
    attempt = (
        "import sys; from pathlib import Path; from collectors_dagster.agent.lock import spool_lock\n"
        "with spool_lock(Path(sys.argv[1])): print('held')"
    )
    with spool_lock(tmp_path):
        refused = subprocess.run([sys.executable, "-c", attempt, tmp_path], capture_output=True, text=True, check=False)
    assert f"SpoolError: the spool {tmp_path} is in use by the agent with process id {os.getpid()}" in refused.stderr
    taken = subprocess.run([sys.executable, "-c", attempt, tmp_path], capture_output=True, text=True, check=True)
    assert taken.stdout == "held\n"


def test_the_lock_is_let_go_when_the_body_fails(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="on purpose"), spool_lock(tmp_path):
        raise SpoolError("on purpose")
    with spool_lock(tmp_path):
        pass


def test_a_tenants_beginning_is_remembered(tmp_path: Path) -> None:
    Positions(tmp_path).admit(["aurora"], 1, complete=True)
    later = Positions(tmp_path)
    later.admit(["aurora", "borealis"], 500, complete=True)
    again = Positions(tmp_path)
    assert (again.first_seq("aurora"), again.first_seq("borealis")) == (1, 500)


def test_a_tenant_that_leaves_and_comes_back_begins_anew(tmp_path: Path) -> None:
    positions = Positions(tmp_path)
    positions.admit(["aurora"], 1, complete=True)
    positions.admit([], 50, complete=True)
    positions.admit(["aurora"], 100, complete=True)
    assert positions.first_seq("aurora") == 100


def test_nobody_is_forgotten_while_a_tenant_file_cannot_be_read(tmp_path: Path) -> None:
    positions = Positions(tmp_path)
    positions.admit(["aurora"], 1, complete=True)
    positions.admit([], 50, complete=False)
    positions.admit(["aurora"], 100, complete=True)
    assert positions.first_seq("aurora") == 1


def test_how_far_a_tenant_is_survives_a_restart_and_never_reaches_before_its_beginning(tmp_path: Path) -> None:
    positions = Positions(tmp_path)
    positions.admit(["aurora", "borealis"], 10, complete=True)
    positions.note("aurora", 700)
    positions.note("borealis", 3)  # a store that was set back
    positions.keep()
    later = Positions(tmp_path)
    assert (later.acked_seq("aurora"), later.acked_seq("borealis")) == (700, 9)


def test_how_far_a_tenant_was_is_forgotten_with_the_tenant(tmp_path: Path) -> None:
    positions = Positions(tmp_path)
    positions.admit(["aurora"], 1, complete=True)
    positions.note("aurora", 40)
    positions.keep()
    positions.admit([], 50, complete=True)
    positions.note("aurora", 45)  # its lane ends now
    positions.admit(["aurora"], 100, complete=True)
    assert positions.acked_seq("aurora") == 99


def test_a_memory_that_cannot_be_read_counts_everything_as_undelivered(tmp_path: Path) -> None:
    Positions(tmp_path).admit(["aurora"], 5, complete=True)
    (tmp_path / "delivered.json").write_text('{"aurora": null}')
    assert Positions(tmp_path).acked_seq("aurora") == 4
