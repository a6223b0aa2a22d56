"""Whatever is given for a tenant id: either it is safe everywhere, or it is refused and touches nothing."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from collectors_dagster.config.tenant_schema import TenantFile, checked_tenant_file
from collectors_dagster.config.tenants import parse_tenant, tenant_path, write_tenant
from collectors_dagster.errors import CollectorsError
from tests.support.project import Project

SAFE = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")

same_project = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(tenant_id=st.one_of(st.text(max_size=60), st.from_regex(r"[a-z0-9./'\";%-]{1,60}", fullmatch=True)))
@example(tenant_id="../acme")
@example(tenant_id="..")
@example(tenant_id="a/../../b")
@example(tenant_id="acme'--")
@example(tenant_id='a"b')
@example(tenant_id="a" * 200)
@example(tenant_id="acme\N{ROCKET}")
@example(tenant_id="x'; drop table core.tenant; --")
@example(tenant_id="acme\n")
@example(tenant_id="acme\x00")
@example(tenant_id="aсme")  # noqa: RUF001  # a Cyrillic letter that looks like a Latin one
@same_project
def test_id_is_either_safe_or_refused_without_a_trace(project: Project, tenant_id: str) -> None:
    before = _everything_below(project.root)
    try:
        file = checked_tenant_file({"id": tenant_id, "name": "x"}, lambda _path: "here")
        path = write_tenant(project.settings(), file, replace=True)
    except CollectorsError as error:
        message: str | None = str(error)
    else:
        message = None
    if message is None:
        assert SAFE.fullmatch(tenant_id)
        assert path.parent == project.tenants
        path.unlink()
    else:
        assert not SAFE.fullmatch(tenant_id)
        assert _everything_below(project.root) == before
        assert len(message) < 400


@given(tenant_id=st.text(max_size=60))
@same_project
def test_path_of_a_tenant_never_leaves_the_directory(project: Project, tenant_id: str) -> None:
    try:
        path = tenant_path(project.settings(), tenant_id)
    except CollectorsError:
        return
    assert path.resolve().parent == project.tenants.resolve()


@given(name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=80))
def test_any_printable_name_survives_the_file(name: str) -> None:
    text = yaml.safe_dump({"id": "acme", "name": name}, allow_unicode=True)
    assert parse_tenant(text.encode(), "f", expected_id="acme").name == name


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\nb", "a\u202eb", "a\u2028b", "x" * 81, "\x1b[31mred"])
def test_name_that_could_disturb_a_log_or_a_page_is_refused(name: str) -> None:
    with pytest.raises(CollectorsError, match=r"name.*1 to 80 printable characters"):
        checked_tenant_file({"id": "acme", "name": name}, lambda _path: "here")


@given(content=st.binary(max_size=300))
@same_project
def test_any_bytes_give_a_tenant_or_a_refusal(content: bytes) -> None:
    try:
        found = parse_tenant(content, "acme.yml", expected_id="acme")
    except CollectorsError as error:
        assert str(error).startswith("acme.yml")  # noqa: PT017  # either outcome is right
    else:
        assert isinstance(found, TenantFile)


def _everything_below(root: Path) -> set[Path]:
    return set(root.rglob("*"))
