"""Chunks: compressed when they have come to rest, without changing a row; late samples find their place."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.compression import CompressionReport
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.records import Window
from collectors_dagster.strategies.chunks import CompressionRule
from tests.support.store_data import AURORA, BOREALIS, DAY, batch, checksum, day_of_samples
from tests.support.waiting import wait_until

pytestmark = pytest.mark.every_edition

HOUR = timedelta(hours=1)
RULE = CompressionRule(after=6 * HOUR, quiet=2 * HOUR, patience=168 * HOUR)
NIGHT = datetime(2026, 1, 6, 1, tzinfo=UTC)
MORNING = datetime(2026, 1, 6, 9, tzinfo=UTC)


@pytest.fixture
def filled(store: Store) -> Store:
    """Return a store with two days of minutes of two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        for day in ("2026-01-04", "2026-01-05"):
            write(store, tenant, Window.of_day(day))
    return store


def write(store: Store, tenant: str, window: Window, seed: int = 7) -> None:
    samples = day_of_samples(window, series=10, step=60, seed=seed)
    store.samples.write_window(tenant, "demo", window, **samples)  # type: ignore[arg-type]  # **: no types per name
    store.rollups.hourly(tenant, window, "run-1")


def needs_compression(edition: Edition) -> None:
    if edition is not Edition.FULL:
        pytest.skip("this edition has no compression")


def hours(database: SecretStr) -> list[tuple[object, ...]]:
    """Return the hours of 4 and 5 January, without sums: in which order those are added is the server's business."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(
            "select tenant_key, series_id, bucket, n, min, max, last from core.sample_1h "
            "where bucket < '2026-01-06 00:00+00' order by 1, 2, 3"
        ).fetchall()


def compressed(store: Store) -> CompressionReport:
    """Look in the night, and again when all is quiet."""
    store.compression.apply(RULE, NIGHT)
    return store.compression.apply(RULE, MORNING)


def test_chunks_at_rest_are_compressed_and_no_row_changes(filled: Store, database: SecretStr, edition: Edition) -> None:
    needs_compression(edition)
    before = checksum(database)
    first = filled.compression.apply(RULE, NIGHT)
    assert [one.said for one in first.chunks][:2] == [
        "wait: it is still written to",
        "wait: it is not over for long enough",
    ]
    report = filled.compression.apply(RULE, MORNING)
    assert [one.chunk.starts_at.day for one in report.compressed] == [4, 5]
    assert all(one.bytes_after * 4 < one.chunk.bytes for one in report.compressed)
    assert report.bytes_after < report.bytes_before
    assert {**checksum(database), "chunk_activity": ""} == {**before, "chunk_activity": ""}
    assert filled.compression.apply(RULE, MORNING).compressed == ()


def test_an_edition_without_compression_reports_no_chunks(filled: Store, edition: Edition) -> None:
    if edition is Edition.FULL:
        pytest.skip("this edition compresses")
    report = compressed(filled)
    assert (report.edition, report.chunks) == (edition, ())
    assert report.bytes_before == report.bytes_after > 0


def test_a_window_written_again_into_compressed_chunks_is_the_same_and_is_compressed_again(
    filled: Store, database: SecretStr, edition: Edition
) -> None:
    needs_compression(edition)
    small = compressed(filled).bytes_after
    before, rolled = checksum(database), hours(database)
    write(filled, "aurora", DAY, seed=8)
    assert checksum(database)["sample"] != before["sample"]
    write(filled, "aurora", DAY)
    assert checksum(database)["sample"] == before["sample"]
    assert hours(database) == rolled

    def noticed() -> bool:
        """The server's statistics follow by a moment."""
        report = filled.compression.apply(RULE, MORNING + HOUR)
        return any(one.said == "wait: it is still written to" for one in report.chunks)

    wait_until(noticed, seconds=10, what="statistics of the writes")
    report = filled.compression.apply(RULE, MORNING + 4 * HOUR)
    assert "compress again: late samples came" in {one.said for one in report.compressed}
    assert report.bytes_after < small * 1.2
    assert checksum(database)["sample"] == before["sample"]


def test_a_window_that_is_the_same_already_stays_compressed(
    filled: Store, database: SecretStr, edition: Edition
) -> None:
    needs_compression(edition)
    small = compressed(filled).bytes_after
    before = checksum(database)["sample"]
    write(filled, "aurora", DAY)
    report = filled.compression.apply(RULE, MORNING + HOUR)
    assert {one.said for one in report.chunks if one.chunk.compressed} == {"is compressed"}
    assert report.bytes_after == small
    assert checksum(database)["sample"] == before


def test_an_agents_late_samples_are_stored_once_in_a_compressed_chunk(
    filled: Store, delivery_store: DeliveryStore, database: SecretStr, edition: Edition
) -> None:
    delivery_store.deliver(batch(1, 50))
    compressed(filled)
    late = delivery_store.deliver(batch(51, 90))
    assert (late.rows, late.duplicates) == (40, 0)
    again = delivery_store.deliver(batch(41, 95))
    assert (again.rows, again.duplicates) == (5, 50)
    filled.rollups.hourly("aurora", DAY, "run-2")
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(
            "select count(*), (select sum(n) from core.sample_1h join core.series using (series_id) "
            "where metric = 'load1') from core.sample join core.series using (series_id) where metric = 'load1'"
        ).fetchone()
    assert row == (95, 95)


def test_more_than_the_servers_limit_can_be_late_at_once(
    filled: Store, delivery_store: DeliveryStore, database: SecretStr, edition: Edition
) -> None:
    """The server refuses to decompress more than 100,000 rows for one write, unless it is told otherwise."""
    needs_compression(edition)
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        name = database.get_secret_value().rsplit("/", 1)[1]
        connection.execute(
            f"alter database {name} set timescaledb.max_tuples_decompressed_per_dml_transaction = 10".encode()
        )
    delivery_store.deliver(batch(1, 100))
    compressed(filled)
    with DeliveryStore(database, application_name="tests") as agent:
        assert agent.deliver(batch(50, 120)).duplicates == 51
    with Store(database, application_name="tests") as store:
        write(store, "aurora", DAY)


def test_retention_takes_one_tenants_rows_out_of_compressed_chunks(
    filled: Store, database: SecretStr, edition: Edition
) -> None:
    compressed(filled)
    report = filled.retention.apply("aurora", 1, 400, NIGHT + 24 * HOUR)
    assert report.rows_deleted == 2 * 14_400 - 10  # the last minute of the 5th is the first of the 6th
    with psycopg.connect(database.get_secret_value()) as connection:
        left = connection.execute(
            "select tenant_id, count(*) from core.sample join core.tenant using (tenant_key) group by 1 order by 1"
        ).fetchall()
    assert left == [("aurora", 10), ("borealis", 28_800)]


def test_what_one_tenant_forgot_stays_in_the_aggregates_when_another_is_refreshed(
    filled: Store, database: SecretStr
) -> None:
    before = hours(database)
    filled.retention.apply("aurora", 1, 400, NIGHT + 24 * HOUR)
    write(filled, "borealis", Window.of_day("2026-01-04"))
    filled.rollups.hourly("borealis", DAY, "run-3")
    assert hours(database) == before
    assert len(before) == 2 * 2 * 10 * 24


def test_late_samples_are_in_the_aggregates_of_who_keeps_more_than_the_others(
    filled: Store, delivery_store: DeliveryStore, database: SecretStr
) -> None:
    """Its day lies before the horizon of another tenant, where the server may not add up for all."""
    filled.rollups.daily("borealis", DAY, "run-1")
    filled.retention.apply("aurora", 1, 2, NIGHT + 72 * HOUR)
    before = hours(database)
    delivery_store.deliver(batch(1, 20, tenant_id="borealis"))
    filled.rollups.hourly("borealis", DAY, "run-2")
    filled.rollups.daily("borealis", DAY, "run-2")
    with psycopg.connect(database.get_secret_value()) as connection:
        late = connection.execute(
            "select h.n, h.min, h.max, h.last, d.n from core.sample_1h h "
            "join core.sample_1d d using (tenant_key, series_id) join core.series using (series_id) "
            "where metric = 'load1'"
        ).fetchall()
        kept = connection.execute("select count(*) from core.sample_1h where tenant_key = 1").fetchone()
    assert late == [(20, 1.0, 20.0, 20.0, 20)]
    assert [row for row in hours(database) if row in before] == before
    assert kept == (0,)


LATER = datetime(2026, 1, 20, tzinfo=UTC)
"""When the chunk of the hours has ended too: it holds ten days."""


def test_hours_are_compressed_and_late_samples_find_their_place_in_them(
    filled: Store, delivery_store: DeliveryStore, database: SecretStr, edition: Edition
) -> None:
    needs_compression(edition)
    before, name = hours(database), database.get_secret_value().rsplit("/", 1)[1]
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            f"alter database {name} set timescaledb.max_tuples_decompressed_per_dml_transaction = 10".encode()
        )
    filled.compression.apply(RULE, LATER - 10 * 24 * HOUR)
    report = filled.compression.apply(RULE, LATER)
    (chunk,) = [one for one in report.compressed if one.chunk.of == "hours"]
    assert chunk.bytes_after < chunk.chunk.bytes
    assert hours(database) == before
    with Store(database, application_name="tests") as store, DeliveryStore(database, application_name="tests") as agent:
        agent.deliver(batch(1, 20))
        store.rollups.hourly("aurora", DAY, "run-2")
        write(store, "borealis", DAY)
        after = hours(database)
        assert len(after) == len(before) + 1
        assert set(before) < set(after)
        assert "compress again: late samples came" in {
            one.said for one in store.compression.apply(RULE, LATER + 4 * HOUR).chunks if one.chunk.of == "hours"
        }
        assert hours(database) == after
        store.retention.apply("aurora", 1, 2, LATER)
        assert [row for row in after if row[0] == 2] == hours(database)


def test_new_chunks_are_cut_for_the_measured_rate(filled: Store, edition: Edition) -> None:
    report = filled.compression.apply(RULE, NIGHT)
    expected = {Edition.PLAIN: (None, None)}.get(edition, (24 * HOUR, 24 * HOUR))
    assert (report.interval_before, report.interval_after) == expected
    slow = day_of_samples(Window.of_day("2026-01-09"), series=1, step=3600)
    filled.samples.write_window("aurora", "slow", Window.of_day("2026-01-09"), **slow)  # type: ignore[arg-type]  # **: no types per name
    filled.rollups.hourly("aurora", Window.of_day("2026-01-09"), "run-1")
    report = filled.compression.apply(RULE, datetime(2026, 1, 10, tzinfo=UTC))
    assert report.interval_after == (None if edition is Edition.PLAIN else 336 * HOUR)
