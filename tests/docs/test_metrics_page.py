"""The catalogue of metrics says what the collectors promise, on the page and on the command line."""

import json

import pytest

from collectors_dagster.agent.catalogue import catalogue, main, metrics_page
from collectors_dagster.agent.own import Own
from collectors_dagster.cli.__main__ import main as collectors
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import COLLECTORS
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.config.settings import PROJECT_ROOT

REMEDY = "run python -m collectors_dagster.agent.catalogue write"
READ = [(made.name, made.metrics) for made in (each(Host(SystemClock())) for each in COLLECTORS)]
PROMISED = [(name, metric) for name, metrics in [*READ, (Own.name, Own.metrics)] for metric in metrics]


def test_page_is_what_the_code_says() -> None:
    assert (PROJECT_ROOT / "docs/metrics.md").read_text(encoding="utf-8") == metrics_page(), REMEDY


def test_page_has_a_row_for_every_metric_under_its_collector() -> None:
    sections = metrics_page().split("\n## ")[1:]
    rows = [
        (section.partition("\n")[0], row.split("`")[1])
        for section in sections
        for row in section.splitlines()
        if row.startswith("| `")
    ]
    assert rows == [(name, metric.name) for name, metric in PROMISED]


def test_every_collector_says_what_it_reads() -> None:
    for section in metrics_page().split("\n## ")[1:]:
        assert section.splitlines()[2].endswith("."), section.partition("\n")[0]


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    rows = [line for line in metrics_page().splitlines() if line.startswith("|")]
    assert {row.count(" | ") for row in rows} == {8}


def test_command_tells_programs_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        collectors(["agent", "catalogue", "--json"])
    assert stopped.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["collector"], each["metric"], each["unit"]) for each in told] == [
        (name, metric.name, metric.unit) for name, metric in PROMISED
    ]
    established = next(each for each in told if each["metric"] == "tcp_established")
    assert established["exporter"] == "node_netstat_Tcp_CurrEstab"
    assert established["opentelemetry"] == "system.network.connection.count"


def test_command_tells_people_one_metric_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        collectors(["agent", "catalogue"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, metric.name] for name, metric in PROMISED]


def test_what_is_known_beyond_linux_is_marked() -> None:
    marked = {entry.metric.name for entry in catalogue() if entry.portable}
    assert {"cpu_busy_seconds_total", "load1", "boot_time_seconds"} <= marked
    assert not {"tcp_established", "pressure_io_waiting_seconds_total"} & marked


def test_what_is_delivered_as_a_total_too_is_marked_and_rare() -> None:
    totals = {entry.metric.name for entry in catalogue() if entry.metric.cumulative}
    assert totals == {
        *("oom_kills_total", "cgroup_oom_kills_total"),
        *("gpu_energy_joules_total", "gpu_ecc_errors_total", "gpu_xid_errors_total"),
        *("network_receive_errors_total", "network_transmit_errors_total"),
    }
    (row,) = [line for line in metrics_page().splitlines() if line.startswith("| `oom_kills_total`")]
    assert "| counter, total |" in row
    assert "| `oom_kills_per_second`, and the same |" in row


def test_unknown_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nosuch"]) == 2
    assert "write" in capsys.readouterr().err
