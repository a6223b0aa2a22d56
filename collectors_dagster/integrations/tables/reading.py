"""A file of measurements, read strictly: what is not a number or an instant is named with its row and column.

Four things are repaired, and counted: rows that are not in the order of time are judged in that order, instants that
come more than once are kept, infinities and empty cells count as missing, columns without a single number are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import Floats
from collectors_dagster.integrations.tables.instants import instants_of

TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts")
MOST_COLUMNS = 1000
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
_HEADER = 2
"""Number of the first row of data in a file whose first line is the header."""


@dataclass(frozen=True, slots=True)
class Handling:
    """What a command does with rows that were mended, in its words."""

    unsorted: str
    repeated: str
    missing: str


JUDGED = Handling("they are judged in that order", "each is judged", "a row without any value gets the score 0")


@dataclass(slots=True)
class Repairs:
    """What was mended while reading, by number.

    Attributes
    ----------
    unsorted, repeated : rows whose instant is before, or the same as, that of the row above
    infinite, missing : cells
    """

    unsorted: int = 0
    repeated: int = 0
    infinite: int = 0
    missing: int = 0
    empty_columns: tuple[str, ...] = ()

    def sentences(self, handling: Handling = JUDGED) -> list[str]:
        """Return what to tell the user; nothing if nothing was mended."""
        said = []
        if self.unsorted:
            said.append(f"rows that are not in the order of time: {self.unsorted}; {handling.unsorted}")
        if self.repeated:
            said.append(f"rows that repeat the instant before: {self.repeated}; {handling.repeated}")
        if self.infinite:
            said.append(f"infinite values: {self.infinite}; they count as missing")
        if self.missing:
            said.append(f"empty cells: {self.missing}; {handling.missing}")
        if self.empty_columns:
            said.append(f"without a single number, left out: {', '.join(self.empty_columns)}")
        return said


@dataclass(frozen=True, slots=True)
class MeasuredTable:
    """A table as it lies in the file, and its numbers.

    Attributes
    ----------
    rows : DataFrame
        All columns of the file in its order, CSV as text.
    seconds : shape (n,)
        Instants since 1970 in UTC.
    columns : names of the m measured columns
    numbers : shape (n, m); NaN where nothing was measured
    groups : shape (n,)
        Number of the series a row belongs to; all 0 without ``by``.
    names : the groups' names
    """

    rows: pd.DataFrame
    seconds: Floats
    columns: tuple[str, ...]
    numbers: Floats
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    repairs: Repairs

    def in_order(self, group: int) -> NDArray[np.int64]:
        """Return the rows of a group in the order of time; those of one instant in the order of the file."""
        mine = np.flatnonzero(self.groups == group)
        return mine[np.argsort(self.seconds[mine], kind="stable")]


def read_table(
    path: Path, *, time: str | None = None, by: str | None = None, only: Sequence[str] = ()
) -> MeasuredTable:
    """Read a file.

    Parameters
    ----------
    time : str, optional
        Column of the instants; by default the first called timestamp, time, datetime, date or ts.
    by : str, optional
        Column that names the series of a row.
    only : sequence of str
        Columns to judge; all others by default.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or a cell cannot be understood; with row, column and what to do.
    """
    rows = _raw(path)
    if rows.empty:
        raise ConfigurationError(f"{path}: no rows")
    time = _time_column(path, rows, time)
    if by is not None and by not in rows.columns:
        raise ConfigurationError(f"{path}: no column {by!r} for --by; there are {_listed(rows.columns)}")
    repairs = Repairs()
    columns = _measured(path, rows, (time, by), only)
    numbers = {name: _numbers(path, rows[name], name, repairs) for name in columns}
    repairs.empty_columns = tuple(name for name, column in numbers.items() if not np.isfinite(column).any())
    kept = tuple(name for name in columns if name not in repairs.empty_columns)
    if not kept:
        raise ConfigurationError(f"{path}: not a single number in {_listed(columns)}; name others with --column")
    values = np.column_stack([numbers[name] for name in kept])
    repairs.missing = int(np.isnan(values).sum()) - repairs.infinite
    seconds = instants_of(path, rows[time], time, _HEADER)
    groups, names = _groups(rows, by)
    _count_disorder(seconds, groups, repairs)
    return MeasuredTable(rows, seconds, kept, values, groups, names, repairs)


def _raw(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: not readable as a table: {reason}") from error


def _time_column(path: Path, rows: pd.DataFrame, asked: str | None) -> str:
    names = [str(name) for name in rows.columns]
    if asked is not None:
        if asked not in names:
            raise ConfigurationError(f"{path}: no column {asked!r} for --time; there are {_listed(names)}")
        return asked
    lowered = {name.strip().lower(): name for name in reversed(names)}
    found = next((lowered[name] for name in TIME_NAMES if name in lowered), None)
    if found is None:
        raise ConfigurationError(
            f"{path}: no column is called {', '.join(TIME_NAMES)}; name it with --time, there are {_listed(names)}"
        )
    return found


def _measured(path: Path, rows: pd.DataFrame, others: tuple[str | None, ...], only: Sequence[str]) -> tuple[str, ...]:
    names = [str(name) for name in rows.columns if name not in others]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ConfigurationError(f"{path}: no column {unknown[0]!r} for --column; there are {_listed(names)}")
    chosen = tuple(only) or tuple(names)
    if not chosen:
        raise ConfigurationError(f"{path}: no column but the instants")
    if len(chosen) > MOST_COLUMNS:
        raise ConfigurationError(
            f"{path}: {len(chosen)} columns; one host has at most {MOST_COLUMNS} metrics: choose with --column"
        )
    if len(set(rows.columns)) < len(rows.columns):
        raise ConfigurationError(f"{path}: two columns have the same name")
    return chosen


def _numbers(path: Path, column: "pd.Series[str]", name: str, repairs: Repairs) -> Floats:
    if column.dtype.kind in "biuf":
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        texts = column.astype(str).str.strip()
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
        bad = np.flatnonzero(np.isnan(numbers) & ~texts.str.lower().isin(_MISSING).to_numpy())
        if len(bad):
            row, text = int(bad[0]), str(texts.iloc[int(bad[0])])
            more = f" (and {len(bad) - 1} more cells of the column)" if len(bad) > 1 else ""
            raise ConfigurationError(
                f"{path}: row {row + _HEADER}, column {name!r}: {text[:40]!r} is not a number{more}; "
                "mend it, leave it empty, or choose other columns with --column"
            )
    infinite = np.isinf(numbers)
    repairs.infinite += int(infinite.sum())
    return np.where(infinite, np.nan, numbers)


def _groups(rows: pd.DataFrame, by: str | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if by is None:
        return np.zeros(len(rows), dtype=np.int64), ("",)
    codes, names = pd.factorize(rows[by].astype(str))
    return codes.astype(np.int64), tuple(str(name) for name in names)


def _count_disorder(seconds: Floats, groups: NDArray[np.int64], repairs: Repairs) -> None:
    order = np.argsort(groups, kind="stable")
    step, same = np.diff(seconds[order]), np.diff(groups[order]) == 0
    repairs.unsorted, repairs.repeated = int(((step < 0) & same).sum()), int(((step == 0) & same).sum())


def _listed(names: Sequence[str] | pd.Index) -> str:
    shown = [str(name) for name in names[:8]]
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > len(shown) else "")
