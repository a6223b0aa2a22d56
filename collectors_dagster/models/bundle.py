"""Files of a model: numbers as ``.npz``, words as ``.json``, forests as ``.skops``. Never pickle.

Loading a forest builds only the types on our own list, whatever the file says.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from collectors_dagster.errors import ModelError
from collectors_dagster.frames import Floats

MANIFEST = "bundle.json"
FORMAT = 1
ALLOWED_TYPES: frozenset[str] = frozenset(
    {
        *(f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "NoneType")),
        *("numpy.ndarray", "numpy.float64", "numpy.int64", "numpy.random.mtrand.RandomState"),
        "sklearn.ensemble._iforest.IsolationForest",
        "sklearn.ensemble._forest.RandomForestRegressor",
        *(f"sklearn.tree._classes.{name}" for name in ("ExtraTreeRegressor", "DecisionTreeRegressor")),
        "sklearn.tree._tree.Tree",
    }
)
"""All that a forest of ours is made of. Left to itself, skops builds whatever is public in scikit-learn and numpy."""
ALLOWED_NODES: frozenset[str] = frozenset(
    {
        *("DictNode", "ListNode", "TupleNode", "JsonNode", "TypeNode", "NdArrayNode", "ObjectNode", "TreeNode"),
        "RandomStateNode",
    }
)
"""How skops may put them together: none of these calls a function that the file names."""
_TRUSTED_BEYOND_SKOPS = ("sklearn.tree._tree.Tree",)
_SCHEMA = "schema.json"


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


def write_forest(path: Path, forest: object) -> None:
    """Write a scikit-learn forest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    skops.io.dump(forest, path)


def read_forest(path: Path) -> Any:
    """Read a scikit-learn forest.

    Raises
    ------
    ModelError
        If the file wants a type, or a way to build one, that is not on our lists; or is no such file.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            wanted = set(_wanted(json.loads(packed.read(_SCHEMA))))
    except (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile) as error:
        message = f"{path.name} was refused: it holds no readable forest; train and register the model again"
        raise ModelError(message) from error
    unknown = sorted(kind for kind, node in wanted if kind not in ALLOWED_TYPES or node not in ALLOWED_NODES)
    if unknown:
        message = f"{path.name} was refused: it wants to build {unknown}, which no model of ours holds"
        raise ModelError(message)
    return skops.io.load(path, trusted=list(_TRUSTED_BEYOND_SKOPS))


def _wanted(content: object) -> Iterator[tuple[str, str]]:
    """Yield every type in a skops schema, with the node that would build it."""
    if isinstance(content, dict):
        if "__class__" in content or "__loader__" in content:
            yield f"{content.get('__module__')}.{content.get('__class__')}", str(content.get("__loader__"))
        for part in content.values():
            yield from _wanted(part)
    elif isinstance(content, list):
        for part in content:
            yield from _wanted(part)
