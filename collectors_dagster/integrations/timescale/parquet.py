"""Series as Parquet files, written a row group at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.integrations.timescale.reading import Block, Reading, Selection
from collectors_dagster.samples import SeriesKey

_TEXT = pa.dictionary(pa.int32(), pa.string())
_NAMES = ("host", "collector", "metric", "labels", "unit", "kind")


def write_parquet(reading: Reading, selection: Selection, path: Path, *, replace: bool) -> int:
    """Write all rows of a reading; the file appears when it is whole.

    Columns are ``timestamp`` (UTC, microseconds), ``tenant_id``, ``host``, ``collector``, ``metric``, ``labels``
    (JSON), ``unit``, ``kind``, and the numbers that were selected. Compression is Zstandard.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ConfigurationError
        If the file exists and may not be replaced, or cannot be written.
    """
    if path.exists() and not replace:
        raise ConfigurationError(f"{path} exists: choose another name, or say --replace")
    names = _Names(reading.series)
    rows = 0
    with _whole(path) as part, pq.ParquetWriter(part, _schema(selection), compression="zstd") as writer:
        for block in reading.blocks:
            writer.write_table(_table(block, names, selection))
            rows += len(block)
    return rows


class _Names:
    """The texts of all series once; rows refer to them."""

    def __init__(self, series: Mapping[int, SeriesKey]) -> None:
        ids = sorted(series)
        self._ids = np.array(ids, dtype=np.int32)
        texts = [_texts(series[one]) for one in ids]
        columns = [list(column) for column in zip(*texts, strict=True)] or [[] for _ in _NAMES]
        self._columns = [pa.array(column, pa.string()).dictionary_encode() for column in columns]

    def of(self, series_ids: NDArray[np.int32]) -> list[pa.Array]:
        """Return the columns of texts for these rows."""
        where = np.searchsorted(self._ids, series_ids)
        return [
            pa.DictionaryArray.from_arrays(column.indices.take(pa.array(where)), column.dictionary)
            for column in self._columns
        ]


def _texts(series: SeriesKey) -> tuple[str, ...]:
    labels = json.dumps(dict(series.labels), ensure_ascii=False, sort_keys=True)
    return series.host, series.collector, series.metric, labels, series.unit, series.kind.value


def _schema(selection: Selection) -> pa.Schema:
    numbers = [(name, pa.int64() if name == "count" else pa.float64()) for name in selection.columns]
    texts = [(name, _TEXT) for name in ("tenant_id", *_NAMES)]
    return pa.schema([("timestamp", pa.timestamp("us", "UTC")), *texts, *numbers])


def _table(block: Block, names: _Names, selection: Selection) -> pa.Table:
    tenant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(block), np.int32)), pa.array([selection.tenant_id]))
    numbers = [pa.array(block.numbers[name]) for name in selection.columns]
    instants = pa.array(block.ts.astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
    columns = [instants, tenant, *names.of(block.series_id), *numbers]
    return pa.Table.from_arrays(columns, schema=_schema(selection))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a name beside the wanted one, which it gets at the end; on any error nothing is left."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or type(error).__name__}") from error
    finally:
        part.unlink(missing_ok=True)
