"""The `fields` parameter of playlists: which parts of an answer the caller wants.

``total,items(added_at,track(name,album(!href,images)))``: names with commas, dots to go down, brackets for several
below, and ``!`` before the first of several to leave them out instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class FieldsError(ValueError):
    """The parameter is malformed."""


@dataclass(slots=True)
class Selection:
    """What is wanted of one object: some names with what is wanted below them, or all but some."""

    wanted: dict[str, "Selection"] = field(default_factory=dict)
    unwanted: set[str] = field(default_factory=set)

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Return the selection that a parameter describes.

        Raises
        ------
        FieldsError
            If brackets do not match or a name is missing.

        Examples
        --------
        >>> Selection.parsed("total,items(track.name)").of({"total": 1, "next": 2, "items": [{"track": {"name": 3}}]})
        {'total': 1, 'items': [{'track': {'name': 3}}]}
        """
        tokens = list(_tokens(text))
        found = cls()
        _read(tokens, found)
        if tokens:
            raise FieldsError("unmatched bracket")
        return found

    def of(self, value: Any) -> Any:
        """Return the wanted part of a value; lists are gone through, what is no object stays as it is."""
        if isinstance(value, list):
            return [self.of(each) for each in value]
        if not isinstance(value, Mapping) or not (self.wanted or self.unwanted):
            return value
        if self.unwanted:
            return {name: each for name, each in value.items() if name not in self.unwanted | self.wanted.keys()}
        return {name: below.of(value[name]) for name, below in self.wanted.items() if name in value}


_MARKS = frozenset("().,!")


def _read(tokens: list[str], into: Selection) -> None:
    """Read names with commas between them, up to the end or a closing bracket."""
    while True:
        if tokens[:1] == ["!"]:
            tokens.pop(0)
            into.unwanted.add(_name(tokens))
        else:
            _read_below(tokens, into.wanted.setdefault(_name(tokens), Selection()))
        if tokens[:1] != [","]:
            return
        tokens.pop(0)


def _read_below(tokens: list[str], into: Selection) -> None:
    """Read what is wanted below a name: nothing said, one name after a dot, or several in brackets."""
    if tokens[:1] == ["."]:
        tokens.pop(0)
        _read_below(tokens, into.wanted.setdefault(_name(tokens), Selection()))
    elif tokens[:1] == ["("]:
        tokens.pop(0)
        _read(tokens, into)
        if tokens[:1] != [")"]:
            raise FieldsError("unmatched bracket")
        tokens.pop(0)


def _name(tokens: list[str]) -> str:
    if not tokens or tokens[0] in _MARKS:
        raise FieldsError("a name is missing")
    return tokens.pop(0)


def _tokens(text: str) -> Iterator[str]:
    name = ""
    for character in text:
        if character in _MARKS:
            if name:
                yield name
            name = ""
            yield character
        elif not character.isspace():
            name += character
    if name:
        yield name
