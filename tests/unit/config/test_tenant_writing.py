import subprocess
import sys
from pathlib import Path

import pytest

from collectors_dagster.config.files import write_atomically
from collectors_dagster.config.tenant_schema import TenantFile, checked_tenant_file
from collectors_dagster.config.tenants import load_tenants, remove_tenant, write_tenant
from collectors_dagster.errors import ConfigurationError, TenantIsolationError
from tests.support.project import ACME, Project


def tenant(**values: object) -> TenantFile:
    return checked_tenant_file({"id": "acme", "name": "Acme", **values}, lambda _path: "here")


def test_written_tenant_is_read_back_as_it_was(project: Project) -> None:
    written = tenant(
        tier="premium",
        retention={"raw_days": 5},
        sources={"system_performance": {"collectors": ["cpu"], "collection_interval": 20}},
        alerts=[{"kind": "webhook", "name": "ops", "url": "https://h/x"}],
    )
    write_tenant(project.settings(), written)
    found = load_tenants(project.settings()).find("acme")
    assert (found.tier.value, found.retention.raw_days) == ("premium", 5)
    assert (found.system.collectors, found.system.collection_interval_seconds) == (("cpu",), 20)
    assert found.alerts[0].url == "https://h/x"


def test_existing_tenant_is_not_overwritten_unless_asked(project: Project) -> None:
    write_tenant(project.settings(), tenant())
    with pytest.raises(ConfigurationError, match="there is a tenant acme already"):
        write_tenant(project.settings(), tenant(name="Other"))
    assert load_tenants(project.settings()).find("acme").name == "Acme"
    write_tenant(project.settings(), tenant(name="Other"), replace=True)
    assert load_tenants(project.settings()).find("acme").name == "Other"


def test_file_with_an_address_is_readable_by_its_owner_only(project: Project) -> None:
    path = write_tenant(project.settings(), tenant(alerts=[{"kind": "webhook", "name": "a", "url": "https://h/x"}]))
    assert path.stat().st_mode & 0o077 == 0
    path = write_tenant(
        project.settings(), tenant(alerts=[{"kind": "webhook", "name": "a", "url": "env:A"}]), replace=True
    )
    assert path.stat().st_mode & 0o044


def test_writing_leaves_nothing_but_the_file(project: Project) -> None:
    write_tenant(project.settings(), tenant())
    with pytest.raises(ConfigurationError):
        write_tenant(project.settings(), tenant())
    assert [path.name for path in project.tenants.iterdir()] == ["acme.yml"]


def test_directory_that_cannot_be_written_is_told_with_the_remedy(project: Project) -> None:
    project.tenants.rmdir()
    project.write("config/tenants", "a file in its place")
    with pytest.raises(ConfigurationError, match=r"config/tenants/acme.yml: cannot be written: .*; change the rights"):
        write_tenant(project.settings(), tenant())


def test_removed_tenant_is_gone_with_its_last_good_version(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    load_tenants(project.settings())
    remove_tenant(project.settings(), "acme")
    assert list(project.tenants.iterdir()) == []
    assert list((project.root / "home" / "run" / "tenants").iterdir()) == []


def test_removing_nobody_is_refused_with_the_nearest(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    with pytest.raises(ConfigurationError, match="no tenant 'acne'; did you mean acme"):
        remove_tenant(project.settings(), "acne")


@pytest.mark.parametrize("tenant_id", ["../base", "..", "/etc/passwd", "acme/../../base", ""])
def test_nothing_outside_the_directory_can_be_removed(project: Project, tenant_id: str) -> None:
    base = project.write("config/base.yml", "{}")
    with pytest.raises(TenantIsolationError):
        remove_tenant(project.settings(), tenant_id)
    assert base.exists()


WRITER = """
import sys
from pathlib import Path
from collectors_dagster.config.files import write_atomically
path, letter = Path(sys.argv[1]), sys.argv[2]
for _ in range(int(sys.argv[3])):
    write_atomically(path, letter.encode() * 20000)
"""


def test_reader_beside_many_writers_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"x" * 20000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter, "100"], cwd=Path.cwd())
        for letter in ("a", "b")
    ]
    seen = set()
    while any(each.poll() is None for each in writers):
        content = path.read_bytes()
        assert len(content) == 20000
        assert len(set(content)) == 1
        seen.add(content[0])
    assert [each.returncode for each in writers] == [0, 0]
    assert len(seen) > 1, "the reader never met a writer"
    assert list(tmp_path.iterdir()) == [path]


def test_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"x" * 20000)
    for _ in range(5):
        before = path.stat().st_ino
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "a", "1000000"], cwd=Path.cwd())
        while path.stat().st_ino == before:
            assert writer.poll() is None
        writer.kill()
        writer.wait()
        content = path.read_bytes()
        assert len(content) == 20000
        assert len(set(content)) == 1
