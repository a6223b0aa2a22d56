"""A tenant's share: its scope, its bound, and that what it has stays its own."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.rows import companions
from collectors_dagster.agent.share import Share
from collectors_dagster.collectors.runner import Column
from collectors_dagster.samples import Kind, Labels, Metric
from collectors_dagster.scopes import ProcessSelector, Scope

CPU = Column("cpu", Metric("cpu_count", Kind.GAUGE, "cores", ""))
PEAK = Column("cpu", Metric("processes_running", Kind.GAUGE, "processes", "", peak=True))
PIDS = Metric("cgroup_pids", Kind.GAUGE, "threads", "")
COUNT = Metric("process_count", Kind.GAUGE, "processes", "")
KILLS = Column("memory", Metric("oom_kills_total", Kind.COUNTER, "operations", "", cumulative=True))


def cgroup(path: str) -> Column:
    return Column("cgroup", PIDS, (("cgroup", path),))


def process(path: str, executable: str, user: str = "root") -> Column:
    return Column("process", COUNT, (("cgroup", path), ("executable", executable), ("user", user)))


UNION = (CPU, cgroup("/shop"), cgroup("/shop/web"), cgroup("/bank"), process("/shop", "sh"), process("/bank", "sh"))


def test_two_tenants_of_one_host_share_nothing_but_what_both_may_see() -> None:
    shop = Share(Scope(host=False, cgroups=("/shop",))).admit(UNION)
    bank = Share(Scope(host=False, cgroups=("/bank",))).admit(UNION)
    assert shop == {UNION[1], UNION[2], UNION[4]}
    assert bank == {UNION[3], UNION[5]}
    assert not shop & bank
    assert Share(Scope()).admit(UNION) == set(UNION)


def test_intervals_give_a_tenant_only_its_share() -> None:
    share = Share(Scope(host=False, processes=(ProcessSelector(user="shop"),)))
    columns = (*UNION, process("/bank", "sh", "shop"))
    machine = Intervals(
        "host", ("cpu", "cgroup", "process"), resolution_seconds=1, sample_interval_seconds=1, share=share
    )
    seconds = [Observation(at, at * 10**9, at * 10**9, "boot", columns, (float(at),) * 7) for at in (1, 2)]
    closed = [machine.add(seen) for seen in seconds][-1]
    assert closed is not None
    (sample,) = closed.samples
    assert dict(sample.series.labels) == {"cgroup": "/bank", "executable": "sh", "user": "shop"}


@pytest.mark.parametrize(("value", "gap"), [(1.0, 0.0), (math.nan, 2.0)])
def test_nothing_in_the_scope_is_no_gap_but_a_collector_that_fails_is(value: float, gap: float) -> None:
    share = Share(Scope(host=False, cgroups=("/nobody",)))
    machine = Intervals("host", ("cgroup",), resolution_seconds=2, sample_interval_seconds=1, share=share)
    seconds = [Observation(at, at * 10**9, at * 10**9, "boot", UNION, (value,) * 6) for at in (2, 3, 4)]
    closed = [machine.add(seen) for seen in seconds][-1]
    assert closed is not None
    assert not closed.samples
    (note,) = closed.notes.values()
    assert note.gap_seconds == gap
    assert note.intervals == (gap == 0)


def test_beyond_the_bound_series_are_refused_counted_and_let_in_when_there_is_room() -> None:
    share = Share(max_series=3)
    many = [cgroup(f"/{number}") for number in range(5)]
    assert share.admit(many) == set(many[:3])
    assert (share.series, share.refused_series, share.refused_total) == (3, 2, 2)
    share.admit(many)
    assert share.refused_total == 2
    assert share.admit(many[1:]) == set(many[1:4])
    assert (share.series, share.refused_series, share.refused_total) == (3, 1, 2)


def test_who_has_a_place_keeps_it() -> None:
    share = Share(max_series=2)
    share.admit([cgroup("/b"), cgroup("/c")])
    assert share.admit([cgroup("/a"), cgroup("/b"), cgroup("/c")]) == {cgroup("/b"), cgroup("/c")}


def test_a_series_with_its_maximum_takes_two_places() -> None:
    share = Share(max_series=2)
    assert share.admit([CPU, PEAK]) == {CPU}
    assert Share(max_series=2).admit([PEAK]) == {PEAK}


def test_a_counter_whose_total_is_delivered_too_takes_two_places() -> None:
    assert Share(max_series=1).admit([KILLS]) == set()
    assert Share(max_series=2).admit([KILLS, CPU]) == {KILLS}


def test_what_is_refused_is_counted_as_what_is_delivered() -> None:
    share = Share(max_series=2)
    share.admit([CPU, PEAK])
    assert (share.series, share.refused_series, share.refused_total) == (1, 2, 2)


MANY = (CPU, *(replace(PEAK, labels=(("core", str(number)),)) for number in range(4)))


def delivered(share: Share, columns: Sequence[Column]) -> set[tuple[str, Labels]]:
    machine = Intervals("host", ["cpu"], resolution_seconds=2, sample_interval_seconds=1, share=share)
    seconds = [
        Observation(at, at * 10**9, at * 10**9, "boot", tuple(columns), (float(at),) * len(columns)) for at in (2, 3, 4)
    ]
    closed = [machine.add(seen) for seen in seconds][-1]
    assert closed is not None
    return {(sample.series.metric, sample.series.labels) for sample in closed.samples}


@given(st.integers(1, 10), st.permutations(MANY))
def test_thinned_or_not_the_bound_gives_the_same_series_and_a_maximum_never_without_its_gauge(
    bound: int, columns: list[Column]
) -> None:
    whole, thin = Share(max_series=bound), Share(max_series=bound)
    series = delivered(whole, columns)
    assert delivered(thin, [*columns, *companions(columns)]) == series
    assert (thin.series, thin.refused_series) == (whole.series, whole.refused_series)
    assert len(series) == whole.series <= bound
    gauges = {labels for metric, labels in series if metric == "processes_running"}
    assert gauges == {labels for metric, labels in series if metric == "processes_running_max"}


@given(st.integers(1, 10), st.lists(st.booleans(), min_size=2, max_size=5))
def test_a_tenant_keeps_its_series_when_the_spool_goes_from_thinned_to_whole_and_back(
    bound: int, thin: list[bool]
) -> None:
    share = Share(max_series=bound)
    machine = Intervals("host", ["cpu"], resolution_seconds=1, sample_interval_seconds=1, share=share)
    seen = []
    for at, is_thin in enumerate([*thin, False], 1):
        columns = (*MANY, *companions(MANY)) if is_thin else MANY
        closed = machine.add(Observation(at, at * 10**9, at * 10**9, "boot", columns, (1.0,) * len(columns)))
        seen += [{sample.series for sample in closed.samples}] if closed else []
    assert all(series == seen[0] for series in seen)
    assert share.refused_total == share.refused_series


def test_the_log_names_what_is_refused_but_not_what_is_sensitive() -> None:
    secret = replace(COUNT, sensitive=True)
    column = Column("process", secret, (("cgroup", "/shop"), ("executable", "sh"), ("user", "erika")))
    with structlog.testing.capture_logs() as told:
        Share(Scope(), max_series=1).admit((CPU, cgroup("/bank")))
        Share(Scope(), max_series=1).admit((CPU, column))
    assert [line["example"] for line in told] == ["cgroup_pids of one cgroup", "a sensitive series of process"]


def test_what_is_outside_the_scope_is_not_refused() -> None:
    share = Share(Scope(host=False, cgroups=("/shop",)), max_series=10)
    share.admit(UNION)
    assert (share.series, share.refused_series) == (3, 0)


@given(st.lists(st.sets(st.integers(0, 12), max_size=12), max_size=8), st.integers(1, 8))
def test_the_bound_holds_and_nobody_is_refused_while_there_is_room(steps: list[set[int]], bound: int) -> None:
    share = Share(max_series=bound)
    before: frozenset[Column] = frozenset()
    for step in steps:
        columns = [cgroup(f"/{number}") for number in sorted(step)]
        admitted = share.admit(columns)
        assert len(admitted) == share.series == min(bound, len(columns))
        assert share.refused_series == len(columns) - len(admitted)
        assert before & set(columns) <= admitted
        before = admitted
