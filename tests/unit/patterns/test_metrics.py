"""Counting: bounded whatever the names are, nothing lost between draining and restoring, and strict when read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.patterns.metrics import (
    FAMILIES,
    MOST_SUMS,
    OTHER,
    Metrics,
    Series,
    bounded,
    decoded,
    encoded,
    overflow_of,
)

COUNTED = [family for family in FAMILIES.values() if family.kind != "gauge"]


def fill(metrics: Metrics, names: int) -> None:
    """Use every family there is under many names, as 100,000 careless keys would."""
    for family in COUNTED:
        for number in range(names):
            labels = [f"key-{number}", *(["result"] * (len(family.labels) - 1))] if family.labels else []
            if family.labels[:1] != ("name",):
                labels = ["value"] * len(family.labels)
            if family.kind == "counter":
                metrics.count(family.name, *labels)
            else:
                metrics.observe(family.name, *labels, value=0.5)


def test_a_process_begins_few_series_however_many_names_there_are() -> None:
    metrics = Metrics()
    fill(metrics, 10_000)
    counted = metrics.drain()
    assert len(counted) < 200
    calls = {series: amount for series, amount in counted.items() if series.family == "circuit_breaker_calls_total"}
    assert sum(calls.values()) == 10_000  # none is lost, most under another name
    assert OTHER in {series.labels[0] for series in calls}
    assert len(metrics._known) < 200


def test_what_cannot_be_told_is_told_later() -> None:
    metrics = Metrics()
    metrics.count("rate_limit_requests_total", "spotify", "granted", amount=2)
    lost = metrics.drain()
    metrics.count("rate_limit_requests_total", "spotify", "granted")
    metrics.restore(lost)
    assert metrics.drain() == {Series("rate_limit_requests_total", ("spotify", "granted")): 3}


def test_a_value_falls_into_the_first_bucket_that_holds_it() -> None:
    metrics = Metrics()
    for value in (0.0, 0.01, 0.5, 99.0):
        metrics.observe("rate_limit_wait_time_seconds", "spotify", value=value)
    parts = {series.part: amount for series, amount in metrics.drain().items()}
    assert parts == {"0.01": 2, "1": 1, "+Inf": 1, "count": 4, "sum": pytest.approx(99.51)}


def test_wrong_labels_are_a_fault_of_the_program() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Metrics().count("rate_limit_requests_total", "spotify")


@given(st.text(max_size=200))
def test_whatever_a_name_holds_comes_back_as_one_series(name: str) -> None:
    metrics = Metrics()
    metrics.count("circuit_breaker_calls_total", name, "success")
    [series] = metrics.drain()
    assert decoded(encoded(series)) == series


@given(st.text(max_size=100) | st.sampled_from([f"{name}|a|b|" for name in FAMILIES]))
def test_what_is_no_series_is_none(text: str) -> None:
    series = decoded(text)
    assert series is None or encoded(series) == text


@given(
    st.lists(
        st.tuples(st.sampled_from(COUNTED), st.integers(0, 300), st.sampled_from(["success", "failure"])), max_size=400
    )
)
def test_sums_of_all_processes_are_bounded_and_none_is_lost(drawn: list[tuple[object, int, str]]) -> None:
    sums: list[tuple[Series, float]] = []
    for family, number, result in drawn:
        assert isinstance(family, type(COUNTED[0]))
        labels = tuple([f"n{number}", *[result] * len(family.labels)][: len(family.labels)])
        parts = [""] if family.kind == "counter" else ["sum", "count"]
        sums += [(Series(family.name, labels, part), 1.0) for part in parts]
    kept = bounded(sums, preferred=["n7"])
    named = {series for series in kept if FAMILIES[series.family].labels[:1] == ("name",)}
    assert len(named) <= MOST_SUMS
    assert sum(kept.values()) == len(sums)
    own = {series for series, _ in sums if series.labels[:1] == ("n7",)}
    assert len(own) > MOST_SUMS // 3 or own <= set(kept)


def test_the_series_that_takes_the_surplus_is_one_of_its_family() -> None:
    for family in COUNTED:
        series = Series(family.name, tuple("x" for _ in family.labels), "" if family.kind == "counter" else "sum")
        assert decoded(encoded(overflow_of(series))) == overflow_of(series)
