"""The environment: the one file that reads it, and the names it understands."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel

from collectors_dagster.config.documents import KeyPath
from collectors_dagster.config.fields import describe, field_at, is_group, is_secret, type_at
from collectors_dagster.config.layers import Layer
from collectors_dagster.errors import ConfigurationError

PREFIX = "COLLECTORS__"

SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "COLLECTORS_ENVIRONMENT": ("environment",),
    "COLLECTORS_HOME": ("home",),
    "COLLECTORS_CONFIG_DIR": ("config_dir",),
}
"""What must be known before any file is read, and the data directory."""

DOCUMENT_NAMES: Mapping[str, tuple[str, ...]] = {
    "POSTGRES_HOST": ("postgres", "host"),
    "POSTGRES_PORT": ("postgres", "port"),
    "POSTGRES_DB": ("postgres", "db"),
    "POSTGRES_USER": ("postgres", "user"),
    "POSTGRES_PASSWORD": ("postgres", "password"),
    "REDIS_HOST": ("redis", "host"),
    "REDIS_PORT": ("redis", "port"),
    "REDIS_PASSWORD": ("redis", "password"),
    "SPOTIFY_CLIENT_ID": ("spotify", "client_id"),
    "SPOTIFY_CLIENT_SECRET": ("spotify", "client_secret"),
    "PROMETHEUS_PUSHGATEWAY": ("prometheus_pushgateway",),
    "GRAFANA_URL": ("grafana_url",),
}
"""Names that deployments of the original design already set."""

_DIRECTORY_NAMES = frozenset({"COLLECTORS_CONFIG_DIR", f"{PREFIX}CONFIG_DIR"})
_SECRET_FILE_SUFFIX = "_FILE"  # noqa: S105  # a suffix of variable names, not a password
_MAX_SECRET_BYTES = 64 * 1024


def with_dotenv(environment: Mapping[str, str], path: Path) -> Mapping[str, str]:
    """Return `environment` over the variables of the file `path`, if there is one."""
    if not path.is_file():
        return environment
    try:
        written = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError):
        written = None
    if written is None:
        raise ConfigurationError(f"{path}: cannot be read as UTF-8 lines NAME=value")
    for name in written:
        if name in _DIRECTORY_NAMES:
            raise ConfigurationError(f"{path}: {name} decides where this very file lies; set it in the environment")
    return {name: value for name, value in written.items() if value is not None} | dict(environment)


def variable_for(path: tuple[str, ...]) -> str:
    """Return the variable that sets the setting at `path`.

    Examples
    --------
    >>> variable_for(("ports", "postgres"))
    'COLLECTORS__PORTS__POSTGRES'
    """
    short = next((name for name, target in SHORT_NAMES.items() if target == path), None)
    return short or PREFIX + "__".join(path).upper()


def prefixed_layer(environment: Mapping[str, str], model: type[BaseModel]) -> Layer:
    """Return the layer of the variables ``COLLECTORS__SECTION__KEY`` and the few short names."""
    named = {name: path for name, path in SHORT_NAMES.items() if name in environment}
    for name in sorted(environment):
        if name.upper().startswith(PREFIX):
            named[name] = tuple(name[len(PREFIX) :].lower().split("__"))
    return _layer(environment, named, model)


def document_names_layer(environment: Mapping[str, str], model: type[BaseModel]) -> Layer:
    """Return the layer of the original document's variables."""
    named: dict[str, tuple[str, ...]] = {}
    for name, path in DOCUMENT_NAMES.items():
        if _is_kubernetes_link(name, environment.get(name, "")):
            continue
        named |= {name: path} if name in environment else {}
        from_file = name + _SECRET_FILE_SUFFIX
        named |= {from_file: (*path[:-1], path[-1] + "_file")} if from_file in environment else {}
    return _layer(environment, named, model)


def _is_kubernetes_link(name: str, value: str) -> bool:
    """Recognise ``REDIS_PORT=tcp://10.0.0.1:6379``, which Kubernetes sets in each pod beside a service `redis`."""
    return name.endswith("_PORT") and value.startswith("tcp://")


def _layer(environment: Mapping[str, str], named: Mapping[str, tuple[str, ...]], model: type[BaseModel]) -> Layer:
    values: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    for name, path in sorted(named.items(), key=lambda item: len(item[1])):
        if not environment[name].strip():
            continue  # set but empty means not set, as in most shells' scripts
        secret_of = _secret_behind(path, model)
        target = secret_of or path
        if target in places:
            raise ConfigurationError(f"{places[target]} and {name} set the same thing: remove one of them")
        value = _secret_from(name, environment[name]) if secret_of else _typed(name, environment[name], target, model)
        _put(values, target, value, name)
        places[target] = f"environment variable {name}"
    return Layer(values, lambda path: _nearest(places, path))


def _secret_behind(path: tuple[str, ...], model: type[BaseModel]) -> tuple[str, ...] | None:
    """Return the path of the secret that the variable ``..._FILE`` names a file for."""
    if not path[-1].endswith("_file") or field_at(model, path):
        return None
    target = (*path[:-1], path[-1].removesuffix("_file"))
    field = field_at(model, target)
    return target if field is not None and is_secret(field) else None


def referenced(reference: str, environment: Mapping[str, str]) -> str:
    """Return the secret behind ``env:NAME`` or ``file:/path``.

    Raises
    ------
    ConfigurationError
        If there is nothing behind it.
    """
    kind, _, where = reference.partition(":")
    if kind == "file":
        return _secret_from(reference, where)
    if not environment.get(where):
        raise ConfigurationError(f"environment variable {where} is not set")
    return environment[where]


def _secret_from(name: str, path: str) -> str:
    try:
        content = Path(path).read_bytes()[: _MAX_SECRET_BYTES + 1]
        text = content.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        text, problem = "", f"cannot be read: {reason}"
    else:
        problem = "is empty" if not text else "is too large" if len(content) > _MAX_SECRET_BYTES else ""
    if problem:
        raise ConfigurationError(f"{name}: the file {path!r} {problem}")
    return text


def _typed(name: str, text: str, path: tuple[str, ...], model: type[BaseModel]) -> Any:
    """Read a mapping, given as JSON; leave everything else to the field."""
    kind = type_at(model, path)
    if not is_group(kind):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass  # raised below: the parser's error holds the text
    raise ConfigurationError(f"environment variable {name}: must be JSON, {describe(kind)}")


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> None:
    for step in path[:-1]:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"environment variable {name}: {step} is a setting, it has no keys below it")
    values[path[-1]] = value


def _nearest(places: Mapping[KeyPath, str], path: KeyPath) -> str:
    """Return the place of `path`, of what holds it, or of the first thing that it holds."""
    below = (place for target, place in places.items() if target[: len(path)] == path)
    above = (places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in places)
    return next(above, None) or next(below, "environment")
