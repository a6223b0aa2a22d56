"""Tenant identifiers are safe wherever they go."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.errors import TenantIsolationError
from collectors_dagster.tenants import Tenant, checked_tenant_id

SAFE = set(string.ascii_lowercase + string.digits + "-")


@pytest.mark.parametrize(
    "bad",
    [
        *("", "a", "../etc", "a/b", "a\\b", "..", "a b", "a'b", 'a"b', "a;drop table", "x' or '1'='1", "A", "ACME"),
        *(
            "-a",
            "a-",
            "1abc",
            "é",
            "acme\N{PILE OF POO}",
            "a" * 41,
            "a" * 200,
            "a\nb",
            "ab\n",
            "a|b",
            "a\x00b",
            "%2e%2e",
        ),
    ],
)
def test_dangerous_ids_are_refused_with_the_remedy(bad: str) -> None:
    with pytest.raises(TenantIsolationError, match="lower-case letters") as caught:
        checked_tenant_id(bad)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=60))
def test_whatever_passes_is_a_dns_label(text: str) -> None:
    try:
        passed = checked_tenant_id(text)
    except TenantIsolationError:
        return
    assert set(passed) <= SAFE
    assert 2 <= len(passed) <= 40
    assert passed[0] in string.ascii_lowercase
    assert passed[-1] != "-"


def test_a_tenant_cannot_be_made_with_a_bad_id() -> None:
    with pytest.raises(TenantIsolationError):
        Tenant(id="../x", name="x")
