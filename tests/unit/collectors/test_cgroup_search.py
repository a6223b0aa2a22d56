"""How far a search for cgroups goes on a host where somebody makes very many, or very deep ones."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.cgroup import INTERVAL_SECONDS, LEAST_VISITED, MOST_CGROUPS, MOST_VISITED, Cgroup
from collectors_dagster.collectors.cgroup_tree import CgroupTree, Visits
from collectors_dagster.collectors.runner import MAX_SERIES, Runner
from collectors_dagster.scopes import MOST_COMPONENTS, Scope
from tests.support.trees import host_at

NAMES = ("a", "b", "ab")
PATTERNS = ("/*", "/a", "/a/**", "/*/b", "/a*/*", "/a/b/ab", "/[ab]/**", "/?b/a")


def tree_at(root: Path, paths: Iterable[str]) -> CgroupTree:
    root.mkdir(parents=True)
    (root / "cgroup.controllers").touch()
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
    return CgroupTree(root)


def host_with(root: Path, *scopes: Scope) -> Cgroup:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/own.slice\n")
    tree_at(root / "sys/fs/cgroup", ["own.slice"])
    return Cgroup(host_at(root, ManualClock(), *scopes))


def make(root: Path, path: str, **files: str) -> None:
    directory = root / "sys/fs/cgroup" / path
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_text(content)


@given(
    st.sets(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join), max_size=12),
    st.sampled_from(PATTERNS),
    st.integers(0, 40),
)
def test_a_search_finds_everything_or_says_that_it_did_not(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], pattern: str, budget: int
) -> None:
    tree = tree_at(tmp_path_factory.mktemp("tree") / "cgroup", paths)
    everything, visits = tree.matching(pattern, Visits(10**6)), Visits(budget)
    found = tree.matching(pattern, visits)
    assert found <= everything
    assert len(found) <= budget
    assert visits.exceeded or found == everything
    assert visits.left >= 0


def test_a_path_without_signs_costs_its_parts_whatever_lies_beside_it(tmp_path: Path) -> None:
    tree = tree_at(tmp_path / "cgroup", [*(f"many/{number}" for number in range(100)), "many/shop/web"])
    visits = Visits(3)
    assert tree.matching("/many/shop/web", visits) == {"/many/shop/web"}
    assert not visits.exceeded


def test_a_search_goes_no_deeper_than_a_pattern_may_say(tmp_path: Path) -> None:
    tree = tree_at(tmp_path / "cgroup", ["/".join("d" * 400)])
    visits = Visits(10**6)
    assert max(path.count("/") for path in tree.matching("/d/**", visits)) == MOST_COMPONENTS
    assert visits.left >= 10**6 - MOST_COMPONENTS


def test_a_search_that_is_too_long_ends_is_told_once_and_costs_no_other_scope(tmp_path: Path) -> None:
    greedy, modest = Scope(host=False, cgroups=("/many/**",)), Scope(host=False, cgroups=("/zoo/*",))
    others = [Scope(host=False, cgroups=(f"/other-{number}",)) for number in range(MOST_VISITED // LEAST_VISITED)]
    collector = host_with(tmp_path, greedy, *others, modest)
    make(tmp_path, "zoo/shop", memory_current="1\n")
    for number in range(LEAST_VISITED + 10):
        make(tmp_path, f"many/{number}")
    clock = ManualClock()
    runner = Runner([collector], clock)
    with capture_logs() as lines:
        for _ in range(3):
            sweep = runner.sweep()
            make(tmp_path, f"zoo/{clock.monotonic()}")  # how many there are is told too, and changes
            clock.sleep(INTERVAL_SECONDS)
    assert ("cgroup", "/zoo/shop") in {label for column in sweep.columns for label in column.labels}
    assert runner.tallies["cgroup"].errors["CollectionError"] == 6
    (line,) = [line for line in lines if "/many/**" in str(line.get("error"))]
    assert "scope.cgroups" in line["error"]
    runner.close()


def test_beyond_the_series_of_a_collector_its_own_cgroup_and_every_scope_come_first(tmp_path: Path) -> None:
    greedy, modest = Scope(host=False, cgroups=("/many/*",)), Scope(host=False, cgroups=("/zoo/shop",))
    collector = host_with(tmp_path, greedy, modest)
    devices = "".join(f"8:{number} rbytes=1 wbytes=1 rios=1 wios=1\n" for number in range(15))
    paths = ["own.slice", "zoo/shop", *(f"many/{number}" for number in range(MOST_CGROUPS))]
    for path in paths:
        make(tmp_path, path, io_stat=devices)
    clock = ManualClock()
    runner = Runner([collector], clock)
    with capture_logs() as lines:
        for number in range(3):
            sweep = runner.sweep()
            make(tmp_path, "own.slice", io_stat=devices + f"9:{number} rbytes=1 wbytes=1 rios=1 wios=1\n")
            clock.sleep(INTERVAL_SECONDS)
    assert len(sweep.columns) == MAX_SERIES
    told = [dict(column.labels)["cgroup"] for column in sweep.columns]
    assert (told.count("/own.slice"), told.count("/zoo/shop")) == (64, 60)
    assert runner.tallies["cgroup"].refused_series == MOST_CGROUPS * 60 + 4 - MAX_SERIES
    assert len([line for line in lines if line["event"] == "series refused"]) == 1
    runner.close()
