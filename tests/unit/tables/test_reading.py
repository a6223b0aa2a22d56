"""Files of users: read as written, or refused with row, column and remedy."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.integrations.tables import read_table

MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def csv(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01 00:00:00",
        "2026-01-01T01:00:00+01:00",
        "2026-01-01",
        "1767225600",
        "1767225600000",
        "1767225600000000",
        "1767225600000000000",
        "01/01/2026 00:00",
    ],
)
def test_instants_are_read_however_they_are_written(tmp_path: Path, written: str) -> None:
    table = read_table(csv(tmp_path, f"timestamp,value\n{written},1\n"))
    assert table.seconds.tolist() == [MIDNIGHT]


def test_numbers_columns_and_holes_are_read(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, "time,a,b\n2026-01-01,1,\n2026-01-02,inf,2e3\n2026-01-03,NaN,null\n"))
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.numbers, [[1, np.nan], [np.nan, 2000], [np.nan, np.nan]])
    assert (table.repairs.infinite, table.repairs.missing) == (1, 3)


def test_disorder_is_judged_in_order_and_counted(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, "timestamp,value\n30,3\n10,1\n20,2\n20,2.5\n"))
    assert table.numbers[table.in_order(0), 0].tolist() == [1, 2, 2.5, 3]
    assert (table.repairs.unsorted, table.repairs.repeated) == (1, 1)
    assert len(table.repairs.sentences()) == 2


def test_series_of_one_file_are_told_apart(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, "timestamp,host,value\n1,b,1\n1,a,10\n2,b,2\n"), by="host")
    assert table.names == ("b", "a")
    assert [table.numbers[table.in_order(number), 0].tolist() for number in (0, 1)] == [[1, 2], [10]]
    assert table.repairs.sentences() == []


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("timestamp,value\n2026-01-01,1\n2026-01-02,one\n", {}, ("row 3", "'value'", "'one'", "not a number")),
        ("timestamp,value\n2026-01-01,1\nyesterday,2\n", {}, ("row 3", "'timestamp'", "'yesterday'", "ISO 8601")),
        ("timestamp,value\n2026-01-01T00:00Z,1\n2026-01-02T00:00,2\n", {}, ("row 3", "time zone")),
        ("when,value\n2026-01-01,1\n", {}, ("--time", "when, value")),
        ("timestamp,value\n", {}, ("no rows",)),
        ("timestamp\n2026-01-01\n", {}, ("no column but the instants",)),
        ("timestamp,value\n2026-01-01,\n", {}, ("not a single number", "value")),
        ("timestamp,value\n1,1\n", {"by": "host"}, ("--by", "'host'")),
        ("timestamp,value\n1,1\n", {"time": "when"}, ("--time", "'when'")),
        ("timestamp,value\n1,1\n", {"only": ("cpu",)}, ("--column", "'cpu'")),
        ("", {}, ("not readable",)),
    ],
)
def test_what_cannot_be_understood_is_named(
    tmp_path: Path, text: str, options: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_table(csv(tmp_path, text), **options)
    assert [word for word in ("data.csv", *words) if word not in str(caught.value)] == []


def test_too_many_columns_are_refused_with_the_remedy(tmp_path: Path) -> None:
    names = ",".join(f"m{number}" for number in range(10_000))
    path = csv(tmp_path, f"timestamp,{names}\n1,{','.join(['1'] * 10_000)}\n")
    with pytest.raises(ConfigurationError, match=r"10000 columns.*--column"):
        read_table(path)
    assert read_table(path, only=("m7", "m9")).columns == ("m7", "m9")


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    frame = pd.DataFrame({"timestamp": pd.to_datetime(["2026-01-01", "2026-01-02"]), "a": [1, 2], "b": [None, 0.5]})
    frame.to_parquet(path)
    table = read_table(path)
    assert table.seconds.tolist() == [MIDNIGHT, MIDNIGHT + 86_400]
    np.testing.assert_array_equal(table.numbers, [[1, np.nan], [2, 0.5]])


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        read_table(tmp_path / "nothing.csv")


@given(text=st.text(max_size=200))
def test_any_text_is_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigurationError):
        assert len(read_table(path).rows)
