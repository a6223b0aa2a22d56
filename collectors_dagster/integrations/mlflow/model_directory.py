"""A model in MLflow's storage format, written by hand: a table of contents beside our files.

``MLmodel`` names the loader instead of holding a pickle. MLflow's own writer would first try the model out in this
process and cost eight seconds; the format is documented and small (https://mlflow.org/docs/latest/ml/model/).
"""

import json
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path

import pandas as pd
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec

from collectors_dagster.records import ModelPackage

FILES = "data"
"""Where in the directory our own files lie."""
_REQUIRED_COLUMNS = ("host", "timestamp")
_EXAMPLE = "input_example.json"
_SERVING_EXAMPLE = "serving_input_example.json"
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn")


def write_model(directory: Path, package: ModelPackage, bundle: Path, *, model_id: str, run_id: str) -> None:
    """Write a model directory.

    Parameters
    ----------
    directory : Path
        Must not exist yet.
    bundle : Path
        Our files; copied.
    model_id, run_id : str
        Of the logged model and of the run that made it.
    """
    shutil.copytree(bundle, directory / FILES)
    example, answer = pd.DataFrame(dict(package.example)), pd.DataFrame(dict(package.answer))
    model = Model(
        model_id=model_id,
        run_id=run_id,
        signature=_signature(example, answer),
        saved_input_example_info=_write_example(directory, example),
        model_size_bytes=sum(one.stat().st_size for one in bundle.rglob("*") if one.is_file()),
    )
    model.add_flavor(
        "python_function",
        loader_module=package.loader,
        python_version=platform.python_version(),
        data=FILES,
        env={"virtualenv": _write_environment(directory)},
    )
    model.save(str(directory / "MLmodel"))


def write_plots(directory: Path, plots: Mapping[str, bytes]) -> None:
    """Write pictures under their names."""
    directory.mkdir()
    for name, png in plots.items():
        (directory / name).write_bytes(png)


def _signature(example: pd.DataFrame, answer: pd.DataFrame) -> ModelSignature:
    """Return the columns of question and answer; only host and time must be given."""
    inferred = infer_signature(example, answer)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(one.type, one.name, required=one.name in _REQUIRED_COLUMNS) for one in inferred.inputs.inputs
    ]
    return ModelSignature(Schema(columns), inferred.outputs)


def _write_example(directory: Path, example: pd.DataFrame) -> dict[str, str]:
    """Write the example rows, as MLflow's page shows them and as its scoring server takes them."""
    table = json.loads(example.to_json(orient="split", date_format="iso", double_precision=15, index=False))
    (directory / _EXAMPLE).write_text(json.dumps(table), encoding="utf-8")
    (directory / _SERVING_EXAMPLE).write_text(json.dumps({"dataframe_split": table}), encoding="utf-8")
    return {
        "artifact_path": _EXAMPLE,
        "serving_input_path": _SERVING_EXAMPLE,
        "type": "dataframe",
        "pandas_orient": "split",
    }


def _write_environment(directory: Path) -> str:
    """Write what the loader needs beside this project's own package."""
    needed = [f"{name}=={installed(name)}" for name in _REQUIREMENTS]
    (directory / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (directory / "python_env.yaml").write_text(json.dumps(environment), encoding="utf-8")  # JSON is YAML
    return "python_env.yaml"
