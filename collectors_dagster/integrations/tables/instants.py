"""Instants as people write them in files."""

from pathlib import Path

import numpy as np
import pandas as pd

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import Floats

_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})$"
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))
"""Numbers from so many on are nanoseconds, microseconds, milliseconds, seconds since 1970."""


def instants_of(path: Path, column: "pd.Series[str]", name: str, header: int) -> Floats:
    """Return seconds since 1970 in UTC.

    ISO 8601 (with a zone in all rows or in none: then it is UTC) or numbers since 1970 in s, ms, us or ns.

    Parameters
    ----------
    header : int
        What to add to an index for the row's number in the file.

    Raises
    ------
    ConfigurationError
        If a cell is no instant, or only some rows have a zone.
    """
    if column.dtype.kind == "M":
        return _seconds(pd.to_datetime(column, utc=True))
    texts = column.astype(str).str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).all():
        size = float(np.median(np.abs(numbers)))
        return np.asarray(numbers / next(divisor for least, divisor in _UNITS if size >= least))
    zoned = texts.str.contains(_ZONE, regex=True).to_numpy()
    if zoned.any() and not zoned.all():
        odd = int(np.flatnonzero(zoned != zoned[0])[0])
        raise ConfigurationError(
            f"{path}: row {odd + header}, column {name!r}: {texts.iloc[odd]!r} and {texts.iloc[0]!r} of row {header} "
            "do not both have a time zone; write one in all rows, or in none (UTC)"
        )
    parsed = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    if parsed.isna().all():
        parsed = pd.to_datetime(texts, utc=True, format="mixed", errors="coerce")
    bad = np.flatnonzero(parsed.isna().to_numpy())
    if len(bad):
        raise ConfigurationError(
            f"{path}: row {int(bad[0]) + header}, column {name!r}: {texts.iloc[int(bad[0])][:40]!r} is no instant; "
            "write ISO 8601 (2026-01-31T12:00:00Z) or seconds since 1970"
        )
    return _seconds(parsed)


def instant_of(text: str, option: str) -> float:
    """Return the seconds since 1970 of an instant on the command line: ISO 8601 (without a zone UTC), or a number.

    Raises
    ------
    ConfigurationError
        Naming the option.
    """
    try:
        return float(instants_of(Path(option), pd.Series([text]), option, 0)[0])
    except ConfigurationError:
        raise ConfigurationError(
            f"{option}: {text[:40]!r} is no instant; write ISO 8601 (2026-01-31T12:00:00Z) or seconds since 1970"
        ) from None


def _seconds(instants: "pd.Series[pd.Timestamp]") -> Floats:
    naive = instants.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    return np.asarray(naive.astype(np.int64) / 1e6)
