"""Files of a model: numbers as ``.npz``, words as ``.json``. Never pickle: a file is data and builds nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.errors import ModelError
from collectors_dagster.frames import Floats

MANIFEST = "bundle.json"
FORMAT = 1


def write_manifest(directory: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write the bundle's table of contents."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "kind": kind, **content}, indent=1, sort_keys=True)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path, *kinds: str) -> dict[str, Any]:
    """Read the table of contents of a bundle of one of these kinds.

    Raises
    ------
    ModelError
        If it is no such bundle, or of a format this code does not know.
    """
    try:
        content = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{directory} holds no readable model bundle ({MANIFEST}): train and register the model again"
        raise ModelError(message) from error
    kind, version = (content.get("kind"), content.get("format")) if isinstance(content, dict) else (None, None)
    if kind not in kinds or version != FORMAT:
        wanted = f"{' or '.join(kinds)} of format {FORMAT}"
        message = f"{directory} is a bundle of kind {kind} and format {version}, not {wanted}: retrain the model"
        raise ModelError(message)
    return dict(content)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays, compressed; floats as 32 bit (seven digits are more than a sensor has)."""
    compact = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **compact)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays; floats come back as 64 bit."""
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: stored[name].astype(np.float64) if stored[name].dtype == np.float32 else stored[name]
            for name in stored.files
        }


def as_stored(array: Floats) -> Floats:
    """Return what :func:`read_arrays` will give back: a model made of it scores the same before and after saving."""
    return array.astype(np.float32).astype(np.float64)
