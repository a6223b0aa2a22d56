"""Turn a validation error into lines that a person can act on: place, key, what is allowed; never a secret."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from collectors_dagster.config.documents import KeyPath
from collectors_dagster.config.fields import allowed, describe, field_at, is_secret, is_section, type_at

_SHOWN_CHARACTERS = 60


def explain(error: ValidationError, model: type[BaseModel], place: Callable[[KeyPath], str]) -> list[str]:
    """Return one line per problem.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    model : type
        The schema it checked against.
    place : callable
        Names file and line, or the variable, of a key.
    """
    return [_line(each, model, place) for each in error.errors(include_url=False)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name most like `name`, or an empty string.

    Examples
    --------
    >>> nearest("burst_sise", ["burst_size", "requests_per_second"])
    'burst_size'
    """
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as people do: ``alerts[0].url``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def path_of(problem: Any) -> KeyPath:
    """Return where a problem of pydantic's lies; a name in a mapping is marked by one more step, ``[key]``.

    Examples
    --------
    >>> path_of({"type": "literal_error", "loc": ("debug", "agnet", "[key]")})
    ('debug', 'agnet')
    >>> path_of({"type": "extra_forbidden", "loc": ("[key]",)})  # somebody's own word
    ('[key]',)
    """
    path: KeyPath = problem["loc"]
    marked = len(path) > 1 and path[-1] == "[key]" and problem["type"] != "extra_forbidden"
    return path[:-1] if marked else path


def _line(problem: Any, model: type[BaseModel], place: Callable[[KeyPath], str]) -> str:
    path = path_of(problem)
    where = place(path)
    if problem["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(path, model)}"
    if path != problem["loc"]:
        return f"{where}: {_unknown_name(path, model)}"
    if problem["type"] == "missing":
        return f"{where}: {dotted(path)} is missing; it is {_expected(path, model)}"
    return f"{where}: {_refused(problem, path, model)}"


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    parent = type_at(model, path[:-1])
    known = sorted(parent.model_fields) if is_section(parent) else []
    return _unknown(path, known)


def _unknown_name(path: KeyPath, model: type[BaseModel]) -> str:
    expected = describe(type_at(model, path[:-1]))
    known = expected.rpartition("one of ")[2].split(", ")
    return _unknown(path, known)


def _unknown(path: KeyPath, known: Sequence[str]) -> str:
    like = nearest(str(path[-1]), known)
    hint = f"; did you mean {like}" if like else ""
    shown = dotted((*path[:-1], _cut(str(path[-1]))))
    return f"{shown} is not a known key{hint}{'?' if like else ';'} allowed here: {', '.join(known)}"


def _refused(problem: Any, path: KeyPath, model: type[BaseModel]) -> str:
    reason = _reason(problem)
    expected = "" if _says_all(problem, path, model) else _expected(path, model)
    shown = f" = {_shown(problem['input'])}" if _may_be_shown(problem["input"], path, model) else ""
    text = f"{dotted(path)}{shown} is refused" if path else "this is refused"
    return f"{text}: {reason}" + (f"; allowed: {expected}" if expected else "")


def _says_all(problem: Any, path: KeyPath, model: type[BaseModel]) -> bool:
    """Our own checks of texts and groups name what is allowed; repeating "text" would add nothing."""
    return problem["type"] == "value_error" and type_at(model, path) not in (bool, int, float)


def _expected(path: KeyPath, model: type[BaseModel]) -> str:
    field = field_at(model, path)
    if field is not None:
        return allowed(field)
    kind = type_at(model, path)
    return describe(kind) if kind is not None else ""


def _reason(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _may_be_shown(value: object, path: KeyPath, model: type[BaseModel]) -> bool:
    """Show only plain values of settings that are no secret: a misplaced password must not be repeated."""
    field = field_at(model, path)
    if field is None:
        return bool(path) and isinstance(path[-1], int) and isinstance(value, str)
    kind = type_at(model, path)
    plain = isinstance(value, str | int | float | bool) or value is None
    return plain and not is_secret(field) and not is_section(kind) and "@" not in str(value)


def _shown(value: object) -> str:
    return repr(value) if not isinstance(value, str) else repr(_cut(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
