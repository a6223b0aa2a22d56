"""YAML documents that remember the line of every key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from collectors_dagster.errors import ConfigurationError

KeyPath = tuple[str | int, ...]
"""Where a value lies, e.g. ``("alerts", 0, "url")``."""

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser, ten times as fast, is not built everywhere


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its values and where each of them is written."""

    shown_path: str
    values: Mapping[str, Any] = field(repr=False)
    lines: Mapping[KeyPath, int]

    def place(self, path: KeyPath) -> str:
        """Return ``file:line`` of the nearest written key at or above `path`."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.shown_path}:{self.lines.get(path, 1)}"


def read_document(path: Path, shown_path: str) -> Document:
    """Read the mapping in the file `path`.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is no YAML mapping; the message names `shown_path` and the line, never a value.
    """
    return parse_document(read_content(path, shown_path), shown_path)


def read_content(path: Path, shown_path: str) -> bytes:
    """Return the bytes of a file of the configuration, at most a little more than is parsed.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise ConfigurationError(f"{shown_path}: cannot be read: {reason}")


def parse_document(content: bytes, shown_path: str) -> Document:
    r"""Parse `content`, as :func:`read_document` does.

    Examples
    --------
    >>> document = parse_document(b"ports:\n  redis: 1\n", "base.yml")
    >>> document.values, document.place(("ports", "redis"))
    ({'ports': {'redis': 1}}, 'base.yml:2')
    """
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{shown_path}: is larger than {MAX_BYTES} bytes: it is no configuration file")
    problem = ""
    try:
        return _parsed(content.decode("utf-8"), shown_path)
    except UnicodeDecodeError:
        problem = f"{shown_path}: is not UTF-8 text"
    except yaml.YAMLError as error:
        problem = _syntax_problem(error, shown_path)
    except ValueError:  # for example a date of 2026-99-99
        problem = f"{shown_path}: holds a value that YAML cannot express"
    # Raised out here, so that the parser's error, which quotes the text around it, is not carried along.
    raise ConfigurationError(problem)


def _parsed(text: str, shown_path: str) -> Document:
    _check_shape(text, shown_path)
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(shown_path, {}, {})
        lines = dict(_lines(root, (), shown_path))
        values = loader.construct_document(root)
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise ConfigurationError(f"{shown_path}:1: must be a mapping of keys to values")
    return Document(shown_path, values, lines)


def _check_shape(text: str, shown_path: str) -> None:
    """Refuse what would make the parser recurse until it crashes, and copies of copies that grow without bound."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        place = f"{shown_path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise ConfigurationError(f"{place}: write the value out: *references are not supported")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigurationError(f"{place}: is nested deeper than {MAX_DEPTH} levels")


def _lines(node: yaml.Node, path: KeyPath, shown_path: str) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            _check_key(key, seen, f"{shown_path}:{line}")
            yield (*path, key.value), line
            yield from _lines(value, (*path, key.value), shown_path)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield (*path, position), item.start_mark.line + 1
            yield from _lines(item, (*path, position), shown_path)


def _check_key(key: yaml.Node, seen: set[str], place: str) -> None:
    if key.tag != "tag:yaml.org,2002:str":
        raise ConfigurationError(f"{place}: a key must be plain text")
    if key.value in seen:
        raise ConfigurationError(f"{place}: the key {key.value!r} is written twice")
    seen.add(key.value)


def _syntax_problem(error: yaml.YAMLError, shown_path: str) -> str:
    """Name the line and the kind of error; YAML's own text may quote a value (``password: *secret``)."""
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark is not None else ""
    kind = str(getattr(error, "problem", None) or "it is no YAML").split("'")[0].strip()
    return (
        f"{shown_path}{line}: is malformed YAML: {kind}; check the indentation, the quotes, "
        "and that a value starting with one of * & ! % @ ` is quoted"
    )
