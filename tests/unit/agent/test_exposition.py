"""The text format, read back by Prometheus' own parser."""

import shutil
import subprocess
from array import array
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors_dagster.agent.exposition import Family, HostPage, host_family, samples
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.collectors.runner import Column
from collectors_dagster.samples import Kind, Labels, Metric

READS = Metric("disk_reads_total", Kind.COUNTER, "operations", "Reads completed.")
COUNT = Metric("cpu_count", Kind.GAUGE, "cores", "Cores online.")

Parsed = dict[tuple[str, frozenset[tuple[str, str]]], float]

names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"], include_characters="_"), min_size=1)
label_values = st.text(st.characters(exclude_categories=["Cs"]))
labels = st.dictionaries(st.sampled_from(["device", "cpu", "mode", "interface", "x_1"]), label_values, max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
metrics = st.builds(
    Metric, names, st.sampled_from(Kind), st.sampled_from(["bytes", "seconds", "files"]), st.text(max_size=20)
)


def parsed(text: str) -> Parsed:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def column(metric: Metric, *pairs: tuple[str, str]) -> Column:
    return Column("any", metric, pairs)


@given(st.lists(st.tuples(metrics, labels, st.floats()), max_size=12))
def test_whatever_collectors_report_is_read_back_value_by_value(found: list[tuple[Metric, Labels, float]]) -> None:
    page = HostPage([Column("any", metric, pairs) for metric, pairs, _ in found])
    text = page.text(array("d", [value for _, _, value in found]))
    kinds: dict[str, str] = {}
    expected: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for metric, pairs, value in found:
        family = host_family(metric)
        key = (family.name, frozenset(pairs))
        if kinds.setdefault(family.name, family.type) == family.type and key not in expected:
            expected[key] = value
    assert parsed(text) == {key: value for key, value in expected.items() if not isnan(value)}


@given(st.lists(st.tuples(metrics, labels), min_size=1, max_size=12))
def test_a_family_is_described_once_and_never_torn_apart(found: list[tuple[Metric, Labels]]) -> None:
    text = HostPage([Column("any", metric, pairs) for metric, pairs in found]).text(array("d", [1.0]) * len(found))
    described = [line.split(" ")[2] for line in text.split("\n") if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
    seen = [line.partition("{")[0].partition(" ")[0] for line in text.split("\n") if line and line[0] != "#"]
    assert [name for place, name in enumerate(seen) if place == 0 or seen[place - 1] != name] == described


@pytest.mark.parametrize("value", ['quo"te', "back\\slash", "new\nline", "100 %", "%r", "ünï", "{},="])
def test_a_label_comes_back_as_it_was(value: str) -> None:
    text = HostPage([column(READS, ("device", value)), column(COUNT)]).text(array("d", [3.5, 2]))
    assert parsed(text)["collectors_host_disk_reads_total", frozenset({("device", value)})] == 3.5


def test_a_series_without_a_value_is_left_out_and_the_others_stay() -> None:
    columns = [column(READS, ("device", "vda")), column(READS, ("device", "vdb")), column(COUNT)]
    text = HostPage(columns).text(array("d", [nan, inf, 4]))
    assert "vda" not in text
    assert 'device="vdb"} +Inf\n' in text
    assert text.count("# TYPE") == 2


def test_a_gauge_never_ends_like_a_counter_or_a_histogram() -> None:
    found = [host_family(Metric(f"a{ending}", Kind.GAUGE, "files", "")).name for ending in ("_count", "_sum", "_total")]
    assert found == ["collectors_host_a_files"] * 3
    assert host_family(Metric("open_files_count", Kind.GAUGE, "files", "")).name == "collectors_host_open_files"


def test_two_metrics_of_one_name_and_two_types_do_not_spoil_the_page() -> None:
    clash = Metric("disk_reads_total", Kind.GAUGE, "total", "Another.")
    text = HostPage([column(READS), column(clash), column(COUNT)]).text(array("d", [1, 2, 3]))
    assert len(parsed(text)) == len(list(text_string_to_metric_families(text)))


def test_a_label_that_the_format_forbids_gets_another_name() -> None:
    text = HostPage([column(READS, ("le", "1"), ("__name", "2"), ("9", "3"), ("a-b", "4"))]).text(array("d", [1]))
    assert dict(next(iter(parsed(text)))[1]) == {"label_le": "1", "name": "2", "label_9": "3", "a_b": "4"}


def test_every_metric_of_every_collector_is_exposed_without_complaint() -> None:
    collectors = collectors_of(Host(SystemClock()))
    columns = [Column(each.name, metric) for each in collectors for metric in each.metrics]
    text = HostPage(columns).text(array("d", [1.0]) * len(columns))
    assert len(columns) > 50
    assert len(parsed(text)) == len({host_family(column.metric).name for column in columns}) == len(columns)
    if promtool := shutil.which("promtool"):
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_no_series_is_an_empty_page() -> None:
    assert HostPage(()).text(array("d")) == ""


def test_help_keeps_to_its_line() -> None:
    text = samples(Family("things", "gauge", "one\ntwo \\ three"), [((), 1)])
    assert text == "# HELP things one\\ntwo \\\\ three\n# TYPE things gauge\nthings 1\n"
