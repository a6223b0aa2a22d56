"""One place that settings come from, able to say where each of them is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from collectors_dagster.config.documents import Document, KeyPath
from collectors_dagster.config.fields import is_section, type_at


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place; a layer above wins key by key.

    Attributes
    ----------
    values : Mapping
        Nested values; they may be secret, so they are kept out of representations.
    place : callable
        Names the place of a key for people: a file and line, or a variable.
    """

    values: Mapping[str, Any] = field(repr=False)
    place: Callable[[KeyPath], str]

    def holds(self, path: KeyPath) -> bool:
        """Say whether this layer has a value at `path`, whatever the value is."""
        values: Any = self.values
        for step in path:
            if isinstance(values, Mapping):
                if step not in values:
                    return False
                values = values[step]
            elif isinstance(values, list | tuple):
                if not isinstance(step, int) or step >= len(values):
                    return False
                values = values[step]
            else:
                return False
        return True


def overrides_layer(overrides: Mapping[str, Any]) -> Layer:
    """Return the layer of the command line."""
    return Layer(overrides, lambda _path: "command line")


def document_layer(document: Document, model: type[BaseModel]) -> Layer:
    """Return the layer of a file; a section whose keys are all commented out counts as absent."""
    return Layer(_without_empty_sections(document.values, model, ()), document.place)


def _without_empty_sections(values: Mapping[str, Any], model: type[BaseModel], above: KeyPath) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        path = (*above, name)
        if isinstance(value, Mapping):
            kept[name] = _without_empty_sections(value, model, path)
        elif value is not None or not is_section(type_at(model, path)):
            kept[name] = value
    return kept
