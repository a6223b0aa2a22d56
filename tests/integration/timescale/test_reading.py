"""Reading in bulk: all rows, once, in order, at every resolution, in bounded memory; and files of them."""

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.cli.__main__ import main
from collectors_dagster.errors import ConfigurationError, StorageError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.reading import BLOCK_ROWS, Resolution, Selection
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey
from tests.support.effort import times
from tests.support.environment import clean_environment
from tests.support.sql_tenants import fill, foreign
from tests.support.store_data import AURORA, DAY, axis

WIDE = Window(DAY.start, DAY.end + timedelta(days=1))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def filled(store: Store, delivery_store: DeliveryStore) -> Store:
    """Return the store with two tenants."""
    fill(store, delivery_store)
    return store


def rows(store: Store, selection: Selection) -> list[tuple[object, ...]]:
    """Return all rows, with the names of their series."""
    found: list[tuple[object, ...]] = []
    with store.reader.open(selection) as reading:
        for block in reading.blocks:
            for i in range(len(block)):
                key = reading.series[int(block.series_id[i])]
                numbers = [block.numbers[name][i].item() for name in selection.resolution.columns]
                found.append((key.metric, block.ts[i].item(), *numbers))
    return found


def asked(database: SecretStr, statement: str) -> list[tuple[object, ...]]:
    """Return what SQL says, with times as the reader names them."""
    with psycopg.connect(database.get_secret_value()) as connection:
        found = connection.execute(statement.encode()).fetchall()
    return [
        tuple(one.astimezone(UTC).replace(tzinfo=None) if isinstance(one, datetime) else one for one in row)
        for row in found
    ]


STATEMENTS = {
    Resolution.RAW: "select s.metric, p.ts, p.value from core.sample p join core.series s using (series_id) "
    "where s.tenant_key = 1 and p.ts >= '2026-01-05Z' and p.ts < '2026-01-07Z' and s.metric ~ '^metric' "
    "order by p.ts::date, s.series_id, p.ts",
    Resolution.HOUR: "select s.metric, h.bucket, h.sum / h.n, h.min, h.max, h.n from core.sample_1h h "
    "join core.series s using (series_id) where s.tenant_key = 1 and s.metric ~ '^metric' order by s.series_id, 2",
    Resolution.DAY: "select s.metric, d.bucket, d.sum / d.n, d.min, d.max, d.n from core.sample_1d d "
    "join core.series s using (series_id) where s.tenant_key = 1 and s.metric ~ '^metric' order by s.series_id, 2",
}


@pytest.mark.parametrize("resolution", STATEMENTS)
def test_all_rows_come_once_and_in_order(filled: Store, database: SecretStr, resolution: Resolution) -> None:
    wanted = Selection("aurora", WIDE, resolution, metrics=["metric0", "metric1"])
    found = rows(filled, wanted)
    assert len(found) >= 2
    assert found == asked(database, STATEMENTS[resolution])


def test_minutes_add_up_to_the_stored_hours(filled: Store) -> None:
    minutes = rows(filled, Selection("aurora", WIDE, Resolution.MINUTE, metrics=["metric0"]))
    hours = rows(filled, Selection("aurora", WIDE, Resolution.HOUR, metrics=["metric0"]))
    for _, hour, mean, smallest, largest, count in hours:
        assert isinstance(hour, datetime)
        inside = [row for row in minutes if isinstance(row[1], datetime) and hour <= row[1] < hour + timedelta(hours=1)]
        sums = [float(str(row[2])) * int(str(row[5])) for row in inside]
        assert sum(int(str(row[5])) for row in inside) == count
        assert min(float(str(row[3])) for row in inside) == smallest
        assert max(float(str(row[4])) for row in inside) == largest
        assert sum(sums) / int(str(count)) == pytest.approx(float(str(mean)), rel=1e-12)


def test_hosts_and_metrics_narrow_what_is_read_and_other_tenants_are_never_in_it(filled: Store) -> None:
    with filled.reader.open(Selection("aurora", WIDE)) as reading:
        everything = {key.metric for key in reading.series.values()}
        assert {int(one) for block in reading.blocks for one in block.series_id} <= set(reading.series)
    assert everything == {"metric0", "metric1", "load1"}
    assert rows(filled, Selection("aurora", WIDE, hosts=["elsewhere"])) == []
    assert rows(filled, Selection("aurora", WIDE, metrics=["vaultmetric"])) == []
    assert len(rows(filled, Selection("borealis", WIDE, metrics=["vaultmetric"]))) == 1440


@pytest.mark.parametrize(
    ("window", "resolution", "said"),
    [
        (Window(DAY.end, DAY.start), Resolution.RAW, "is empty"),
        (Window(DAY.start, DAY.start), Resolution.RAW, "is empty"),
        (Window(DAY.start, DAY.start + timedelta(minutes=90)), Resolution.HOUR, "cuts a bucket of 1h"),
        (Window(DAY.start + timedelta(hours=1), DAY.end), Resolution.DAY, "cuts a bucket of 1d"),
        (Window(DAY.start + timedelta(seconds=1), DAY.end), Resolution.MINUTE, "cuts a bucket of 1m"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused(
    filled: Store, window: Window, resolution: Resolution, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said), filled.reader.open(Selection("aurora", window, resolution)):
        pass


def test_an_unknown_tenant_is_refused(filled: Store) -> None:
    with (
        pytest.raises(StorageError, match="'nobody' is not in the database"),
        filled.reader.open(Selection("nobody", DAY)),
    ):
        pass


def test_who_stops_in_the_middle_leaves_the_connection_usable(filled: Store) -> None:
    with filled.reader.open(Selection("borealis", WIDE)) as reading:
        assert len(next(reading.blocks)) > 0
    assert filled.tenants.ids() == ["aurora", "borealis"]


def test_what_is_written_meanwhile_is_not_seen(filled: Store) -> None:
    wanted = Selection("aurora", WIDE, metrics=["metric0", "metric1"])
    before = rows(filled, wanted)
    with filled.reader.open(wanted) as reading:
        filled.samples.write_window(
            "aurora",
            "demo",
            DAY,
            series=list(reading.series.values())[:1],
            index=np.zeros(1, dtype=np.int64),
            ts=axis(DAY, 86_400),
            values=np.ones(1),
            run_id="run-2",
        )
        assert sum(map(len, reading.blocks)) == len(before)
    assert len(rows(filled, wanted)) < len(before)


@settings(max_examples=times(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 2 * 1440), minutes=st.integers(1, 2 * 1440))
def test_any_two_neighbouring_windows_hold_what_both_together_hold(filled: Store, start: int, minutes: int) -> None:
    left = Window(DAY.start, DAY.start + timedelta(minutes=start + 1))
    right = Window(left.end, left.end + timedelta(minutes=minutes))
    both = Window(left.start, right.end)

    def instants(window: Window) -> list[str]:
        return sorted(str(row[:2]) for row in rows(filled, Selection("aurora", window, metrics=["metric0"])))

    assert sorted(instants(left) + instants(right)) == instants(both)


# Much


HOUR_OF_MUCH = 3_600
SERIES_OF_MUCH = 250


@pytest.fixture
def much(store: Store) -> int:
    """Write 900,000 samples of one tenant; return how many."""
    store.tenants.sync([AURORA])
    ts = axis(Window(DAY.start, DAY.start + timedelta(hours=1)), 1)
    series = [SeriesKey(f"host-{i}", "load", "load1") for i in range(SERIES_OF_MUCH)]
    values = np.random.default_rng(1).normal(50, 20, len(ts) * len(series))
    store.samples.write_window(
        "aurora",
        "much",
        DAY,
        series=series,
        index=np.repeat(np.arange(len(series)), len(ts)),
        ts=np.tile(ts, len(series)),
        values=values,
        run_id="run-1",
    )
    return len(values)


READER = """
import resource, sys
from datetime import UTC, datetime, timedelta
from pydantic import SecretStr
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.reading import Selection
from collectors_dagster.records import Window
start = datetime(2026, 1, 5, tzinfo=UTC)
with Store(SecretStr(sys.argv[1]), application_name="tests-reader") as store:
    store.tenants.ids()
    with store.reader.open(Selection("aurora", Window(start, start + timedelta(seconds=2)))) as reading:
        list(reading.blocks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = most = 0
    with store.reader.open(Selection("aurora", Window(start, start + timedelta(days=1)))) as reading:
        for block in reading.blocks:
            rows, most = rows + len(block), max(most, len(block))
    print(rows, most, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_that_of_a_block_whatever_the_window(much: int, database: SecretStr) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READER, database.get_secret_value()],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    read, largest, kibibytes = map(int, done.stdout.split())
    assert read == much
    assert largest == BLOCK_ROWS
    assert (
        kibibytes < 40_000
    )  # all rows would be 30 MB in the driver's buffers and 18 MB as arrays, and more as objects


# Files


@pytest.fixture
def environment(database: SecretStr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Point the command at the test's database; return a folder."""
    url = urlsplit(database.get_secret_value())
    names = {"HOST": url.hostname, "PORT": url.port, "DB": url.path[1:], "USER": url.username, "PASSWORD": url.password}
    for name, value in names.items():
        monkeypatch.setenv(f"POSTGRES_{name}", str(value))
    (tmp_path / "config").mkdir()
    monkeypatch.setenv("COLLECTORS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLECTORS_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def collectors(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize("resolution", list(Resolution))
def test_an_exported_file_holds_what_is_read(
    filled: Store, environment: Path, capsys: pytest.CaptureFixture[str], resolution: Resolution
) -> None:
    file = environment / "out.parquet"
    code, out, err = collectors(
        f"db export --tenant aurora --from 2026-01-05 --to 2026-01-07 --resolution {resolution} -o {file} --json",
        capsys,
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    table = pq.read_table(file)
    assert told["rows"] == table.num_rows == len(rows(filled, Selection("aurora", WIDE, resolution)))
    assert table.column_names == [
        *("timestamp", "tenant_id", "host", "collector", "metric", "labels", "unit", "kind"),
        *resolution.columns,
    ]
    assert set(table["tenant_id"].to_pylist()) == {"aurora"}
    assert foreign(str(table.to_pylist())) == []
    expected = sorted(
        (str(row[0]), str(row[1]), float(str(row[2]))) for row in rows(filled, Selection("aurora", WIDE, resolution))
    )
    stored = sorted(
        (row["metric"], str(row["timestamp"].replace(tzinfo=None)), row[resolution.columns[0]])
        for row in table.to_pylist()
    )
    assert stored == expected
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_an_export_of_quantiles_holds_the_chosen_metrics(
    filled: Store, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "db export --tenant aurora --from 2026-01-05 --to 2026-01-06 --quantiles --resolution"
    file = environment / "out.parquet"
    assert collectors(f"{line} 1h -o {file}", capsys)[0] == 0
    table = pq.read_table(file)
    assert table.column_names[-4:] == ["p50", "p95", "p99", "count"]
    assert (table.num_rows, set(table["metric"].to_pylist())) == (24, {"metric0"})
    code, _, err = collectors(f"{line} raw -o {environment / 'other.parquet'}", capsys)
    assert code == 1
    assert "quantiles are known of 1h and 1d, not of raw" in err


def test_an_export_of_nothing_is_a_file_without_rows(
    filled: Store, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = environment / "out.parquet"
    line = f"db export --tenant aurora --from 2020-01-01 --to 2020-01-02 -o {file}"
    assert collectors(line, capsys)[0] == 0
    assert pq.read_table(file).num_rows == 0


def test_an_existing_file_is_kept_unless_told_otherwise(
    filled: Store, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = environment / "out.parquet"
    file.write_text("precious")
    line = f"db export --tenant aurora --from 2026-01-05 --to 2026-01-06 -o {file}"
    code, _, err = collectors(line, capsys)
    assert (code, file.read_text()) == (1, "precious")
    assert "--replace" in err
    assert collectors(f"{line} --replace", capsys)[0] == 0
    assert pq.read_table(file).num_rows > 0


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(
    filled: Store, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = collectors(
        f"db export --tenant aurora --from 2026-01-05 --to 2026-01-06 -o {environment}/absent/out.parquet", capsys
    )
    assert code == 1
    assert "absent/out.parquet cannot be written" in err
    assert list(environment.glob("*.part")) == []


def test_coarse_windows_are_whole_buckets(filled: Store, environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "db export --tenant aurora --from 2026-01-05T01:30 --to 2026-01-05T03:10 --resolution 1h --json -o"
    told = json.loads(collectors(f"{line} {environment / 'out.parquet'}", capsys)[1])
    assert (told["from"], told["to"]) == ("2026-01-05T01:00:00+00:00", "2026-01-05T03:00:00+00:00")


# Plans

SEQUENTIAL = "Seq Scan on "


AGES = """
    insert into core.{table} select 1, s, b, 1, 0, 0, 0, 0, 0
    from generate_series(1, 250) s, generate_series('2026-01-01Z'::timestamptz, '2026-01-11Z', '1 hour') b
"""


@pytest.mark.parametrize("name", ["raw", "minute", "hour", "day"])
def test_reading_some_series_asks_the_index(much: int, database: SecretStr, name: str) -> None:
    from collectors_dagster.integrations.timescale.reading import QUERIES

    with psycopg.connect(database.get_secret_value()) as owner:
        for table in ("sample_1h", "sample_1d"):
            owner.execute(AGES.format(table=table).encode())
    wanted = {"tenant_key": 1, "series_ids": [3, 4], "start": DAY.start, "end": DAY.end, "origin": DAY.end}
    assert SEQUENTIAL not in plan(database, QUERIES[name], wanted)


DASHBOARDS = [
    """
    select date_trunc('minute', timestamp), avg(metric_value), max(metric_value) from api.metrics
    where series_id = any (array(select series_id from api.series where metric_name = 'load1' and host = 'host-3'))
      and timestamp >= '2026-01-05 00:10Z' and timestamp < '2026-01-05 00:20Z' group by 1
    """,
    """
    select bucket, avg_value from api.metrics_hourly
    where series_id = any (array(select series_id from api.series where metric_name = 'load1' and host = 'host-3'))
      and bucket >= '2026-01-05Z' and bucket < '2026-01-06Z'
    """,
]


@pytest.mark.parametrize("statement", DASHBOARDS)
def test_a_tenants_dashboard_asks_the_index_of_samples(
    much: int, store: Store, database: SecretStr, statement: str
) -> None:
    store.rollups.hourly("aurora", Window(DAY.start, DAY.start + timedelta(hours=1)), "run-1")
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute("insert into core.staff_member values ('collectors', 'reader')")
        found = plan(database, statement.encode(), {})
        owner.execute("delete from core.staff_member")
    assert f"{SEQUENTIAL}sample" not in found
    assert "series_id = ANY" in found.replace("p.series_id", "series_id").replace("h.series_id", "series_id")


def plan(database: SecretStr, statement: bytes, wanted: dict[str, object]) -> str:
    """Return the plan of a statement after the tables were analysed."""
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("analyze")
        rows = connection.execute(b"explain (costs off) " + statement, wanted or None).fetchall()
    return "\n".join(str(row[0]) for row in rows)
