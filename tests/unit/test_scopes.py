"""Scopes: what is named is covered, nothing else is, and no pattern leads anywhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.scopes import ProcessSelector, Scope, checked_cgroup_pattern, components_of, covers

NAME = st.text("abc.-_@:1", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
NAMES = st.lists(NAME, min_size=1, max_size=4)


def path(names: list[str]) -> str:
    return "/" + "/".join(names)


@given(NAMES, st.lists(NAME, max_size=3))
def test_a_path_covers_itself_and_all_below(names: list[str], below: list[str]) -> None:
    assert checked_cgroup_pattern(path(names)) == path(names)
    assert covers(path(names), path([*names, *below]))
    assert covers(path([*names, "**"]), path([*names, *below])) == bool(below)


@given(NAMES, NAMES)
def test_a_plain_path_covers_nothing_but_its_own_tree(mine: list[str], other: list[str]) -> None:
    assert covers(path(mine), path(other)) == (other[: len(mine)] == mine)


@given(NAMES, NAMES)
def test_a_scope_of_cgroups_gets_no_series_of_others(mine: list[str], other: list[str]) -> None:
    scope = Scope(host=False, cgroups=(path(mine),))
    inside = other[: len(mine)] == mine
    assert scope.covers("cgroup", (("cgroup", path(other)), ("device", "sda"))) == inside
    assert scope.covers("process", (("cgroup", path(other)), ("executable", "sh"), ("user", "root"))) == inside


@given(st.text(max_size=30))
def test_any_text_is_a_harmless_pattern_or_refused(text: str) -> None:
    try:
        checked_cgroup_pattern(text)
    except ValueError:
        return
    assert text.startswith("/")
    assert components_of(text)
    assert not {".", "..", ""} & set(text[1:].split("/"))
    assert not covers(text, "/")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("system.slice", "from / on"),
        ("", "from / on"),
        ("/a/../b", "no .."),
        ("/..", "no .."),
        ("/a/./b", "no . and"),
        ("/a//b", "no empty part"),
        ("/a/", "no / at its end"),
        ("/", "no empty part"),
        ("/a\n", "printable"),
        ("/a\x00b", "printable"),
        ("/" + "a" * 400, "at most 400 characters"),
        ("/a" * 17, "at most 16 parts"),
        ("/**/a", "its last part"),
        ("/a**", "its last part"),
        ("/**", "host: true"),
    ],
)
def test_a_pattern_that_leads_elsewhere_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_cgroup_pattern(pattern)


def test_a_whole_host_is_everything() -> None:
    assert Scope().covers("cpu", ())
    assert Scope(cgroups=("/shop",)).covers("process", (("cgroup", "/bank"),))
    assert Scope().sources is None


def test_part_of_a_host_gets_nothing_of_the_host_itself() -> None:
    scope = Scope(host=False, cgroups=("/shop",), processes=(ProcessSelector(user="shop"),))
    for collector in ("cpu", "memory", "disk", "network", "load", "pressure", "anything-new"):
        assert not scope.covers(collector, (("cgroup", "/shop"), ("user", "shop")))
    assert not scope.covers("process", ())
    assert not scope.covers("cgroup", ())


def test_a_selector_asks_for_all_of_its_properties() -> None:
    selector = ProcessSelector(user="shop", executable="py*", cgroup="/web")
    assert selector.selects(user="shop", executable="python3", cgroup="/web/1")
    assert not selector.selects(user="bank", executable="python3", cgroup="/web/1")
    assert not selector.selects(user="shop", executable="perl", cgroup="/web/1")
    assert not selector.selects(user="shop", executable="python3", cgroup="/db")


def test_processes_named_by_themselves_bring_no_cgroup() -> None:
    scope = Scope(host=False, processes=(ProcessSelector(cgroup="/shop"),))
    assert not scope.covers("cgroup", (("cgroup", "/shop"),))
    assert scope.covers("process", (("cgroup", "/shop"), ("executable", "x"), ("user", "y")))
    assert scope.sources == ("process",)
