"""Results beside the rows they belong to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from collectors_dagster.errors import ConfigurationError


def write_table(path: Path, rows: pd.DataFrame, added: Mapping[str, NDArray[Any]]) -> None:
    """Write the rows of a file with new columns behind its own, in the order of the file; CSV or Parquet by its name.

    Raises
    ------
    ConfigurationError
        If it cannot be written.
    """
    whole = rows.assign(**dict(added.items()))
    part = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".parquet":
            whole.to_parquet(part, index=False)
        else:
            whole.to_csv(part, index=False, float_format="%.10g")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
