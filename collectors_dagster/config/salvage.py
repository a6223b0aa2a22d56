"""What is left of settings that are refused: enough to look at what runs and to stop it, never to start anything.

Whoever mistypes a key while the stack runs must still be able to ask for its state and to end it. Of a file that is
no YAML, the top-level keys that can be read by themselves are kept; of what can be read, everything but the refused.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collectors_dagster.config.documents import Document, KeyPath, parse_document, read_content
from collectors_dagster.config.explanations import path_of
from collectors_dagster.config.layers import Layer, document_layer
from collectors_dagster.config.settings import (
    DECIDED_BEFORE_FILES,
    Settings,
    all_layers,
    load_settings,
    settings_from,
    shown_path,
)
from collectors_dagster.errors import ConfigurationError

_TOP_LEVEL = re.compile(r"^(?=[^\s#])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Salvage:
    """Settings to look with.

    Attributes
    ----------
    problems : tuple of str
        One line per thing that is wrong: file and line, key, what is allowed; empty when the settings are whole.
    """

    settings: Settings
    problems: tuple[str, ...] = ()


def salvage_settings() -> Salvage:
    """Return the settings, or what is left of them without what is refused.

    Raises
    ------
    ConfigurationError
        If nothing can be said: there is no directory of settings, or the environment contradicts itself.
    """
    try:
        return Salvage(load_settings())
    except ConfigurationError as error:
        problems = tuple(str(error).splitlines())
    layers = all_layers({}, _readable_part)
    while True:
        try:
            return Salvage(settings_from(layers), problems)
        except ValidationError as error:
            less = _without_refused(layers, _refused(error))
        if less == layers:
            raise ConfigurationError("\n".join(problems))
        layers = less


def _readable_part(path: Path, config_dir: Path) -> Layer:
    """Return the layer of the top-level keys that can be read, each by itself."""
    shown = shown_path(path, config_dir)
    values: dict[str, Any] = {}
    with contextlib.suppress(ConfigurationError):
        for block in _blocks(read_content(path, shown).decode(errors="replace")):
            with contextlib.suppress(ConfigurationError):
                values |= parse_document(block.encode(), shown).values
    kept = {key: value for key, value in values.items() if key not in DECIDED_BEFORE_FILES}
    return document_layer(Document(shown, kept, {}), Settings)


def _blocks(text: str) -> Iterator[str]:
    r"""Yield the parts of a document that begin at the margin.

    Examples
    --------
    >>> list(_blocks("home: /data\nlog:\n  level: [\nports: {}\n"))
    ['home: /data\n', 'log:\n  level: [\n', 'ports: {}\n']
    """
    yield from (block for block in _TOP_LEVEL.split(text) if block.strip())


def _refused(error: ValidationError) -> list[KeyPath]:
    problems = error.errors(include_url=False, include_input=False)
    return [path_of(problem) for problem in problems]


def _without_refused(layers: Sequence[Layer], refused: Sequence[KeyPath]) -> tuple[Layer, ...]:
    """Take each refused key out of the strongest layer that holds it: that is whose value was looked at."""
    left = list(layers)
    for path in refused:
        place = next(_holders(left, path), None)
        if place is not None:
            index, held = place
            left[index] = Layer(_without(left[index].values, held), left[index].place)
    return tuple(left)


def _holders(layers: Sequence[Layer], path: KeyPath) -> Iterator[tuple[int, KeyPath]]:
    """Yield the layers that hold `path`, then those that hold only what is above it."""
    for length in range(len(path), 0, -1):
        yield from ((index, path[:length]) for index, each in enumerate(layers) if each.holds(path[:length]))


def _without(values: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    step, below = path[0], path[1:]
    if not below or not isinstance(values[str(step)], Mapping):
        return {key: value for key, value in values.items() if key != step}
    return {key: _without(value, below) if key == step else value for key, value in values.items()}
