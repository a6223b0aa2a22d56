"""How one setting is declared, looked up and described."""

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

Value = TypeVar("Value")


def setting(
    default: Value, *, unit: str, about: str, at_least: float | None = None, at_most: float | None = None
) -> Value:
    """Declare a setting with its unit, its meaning and its range, both ends included."""
    declared: Value = Field(default, description=about, ge=at_least, le=at_most, json_schema_extra={"unit": unit})
    return declared


def section(kind: type[Value], about: str) -> Value:
    """Declare a section, which by default holds the defaults of its settings."""
    declared: Value = Field(default_factory=kind, description=about)
    return declared


class Section(BaseModel):
    """A group of settings: frozen, complete, and closed to unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        regex_engine="python-re",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_switch(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and bare_type(field.annotation) in (int, float):
            raise ValueError("true and false are no numbers")
        return value


def bare_type(annotation: Any) -> Any:
    """Return the type inside ``X | None`` and ``Annotated``.

    Examples
    --------
    >>> bare_type(int | None)
    <class 'int'>
    """
    if get_origin(annotation) is Annotated:
        return bare_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [each for each in get_args(annotation) if each is not type(None)]
        return bare_type(inner[0]) if len(inner) == 1 else annotation
    return annotation


def is_section(kind: Any) -> bool:
    """Say whether a type is a group of settings."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def is_group(kind: Any) -> bool:
    """Say whether a type holds further settings: a section, or sections by name."""
    return is_section(kind) or get_origin(kind) is dict


def type_at(model: type[BaseModel], path: tuple[str | int, ...]) -> Any:
    """Return the type expected at `path` below `model`, or None where nothing is known."""
    kind: Any = model
    for step in path:
        kind = _inside(kind, step)
    return kind


def field_at(model: type[BaseModel], path: tuple[str | int, ...]) -> FieldInfo | None:
    """Return the declaration of the setting at `path` below `model`."""
    parent = type_at(model, path[:-1])
    if path and is_section(parent):
        return cast("FieldInfo | None", parent.model_fields.get(path[-1]))
    return None


def _inside(kind: Any, step: str | int) -> Any:
    if is_section(kind):
        field = kind.model_fields.get(step)
        return bare_type(field.annotation) if field else None
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return bare_type(arguments[1])
    if get_origin(kind) is tuple:
        return bare_type(arguments[0])
    return None


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield every setting below `model` with its path; sections themselves are walked, not yielded."""
    for name, field in model.model_fields.items():
        kind = bare_type(field.annotation)
        if get_origin(kind) is dict:
            yield from leaves(get_args(kind)[1], (*above, name, "<name>"))
        elif get_origin(kind) is tuple and is_section(get_args(kind)[0]):
            yield from leaves(get_args(kind)[0], (*above, f"{name}[]"))
        elif is_section(kind):
            yield from leaves(kind, (*above, name))
        else:
            yield (*above, name), field


def is_secret(field: FieldInfo) -> bool:
    """Say whether the setting's value must never be shown."""
    return bare_type(field.annotation) is SecretStr or bool(_extra(field, "secret"))


def unit_of(field: FieldInfo) -> str:
    """Return the declared unit."""
    return str(_extra(field, "unit") or "")


def _extra(field: FieldInfo, name: str) -> object:
    return field.json_schema_extra.get(name) if isinstance(field.json_schema_extra, dict) else None


def allowed(field: FieldInfo) -> str:
    """Describe what a setting accepts, in words."""
    return f"{describe(field.annotation)}{_range(field)}{_unit_in_words(field)}"


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text (secret)",
    Path: "a path",
}


def describe(annotation: Any) -> str:
    """Describe a type in words.

    Examples
    --------
    >>> describe(Literal["low", "high"])
    'one of low, high'
    >>> describe(tuple[int, ...])
    'a list, each item a whole number'
    """
    kind = bare_type(annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(each) for each in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(each.value) for each in kind)
    if get_origin(kind) is tuple:
        return f"a list, each item {describe(get_args(kind)[0])}"
    if is_section(kind):
        return "a mapping with the keys " + ", ".join(kind.model_fields)
    if get_origin(kind) is dict:
        return f"a mapping; a key is {describe(get_args(kind)[0])}"
    return _NAMES.get(kind, "text")


def _range(field: FieldInfo) -> str:
    low = next((each.ge for each in field.metadata if isinstance(each, annotated_types.Ge)), None)
    high = next((each.le for each in field.metadata if isinstance(each, annotated_types.Le)), None)
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    return f", at least {low:,}" if low is not None else ""


def _unit_in_words(field: FieldInfo) -> str:
    unit = unit_of(field)
    return f" ({unit})" if unit else ""
