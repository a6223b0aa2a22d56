"""Values as bytes: JSON, or bytes as they are. Nothing is ever pickled: what lies in Redis may come from a stranger."""

import json
from math import isfinite
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

DEEPEST = 100
"""Lists and objects within each other that are written at most."""


class ValueCodec(Protocol[T]):
    """Makes bytes of values and values of bytes."""

    def dumps(self, value: T, /) -> bytes:
        """Return a value as bytes.

        Raises
        ------
        TypeError, ValueError
            If it cannot be written so that it is read as the same.
        """
        ...

    def loads(self, data: bytes, /) -> T:
        """Return the value that bytes hold, a new one each time: nobody can change another one's.

        Raises
        ------
        ValueError
            If they hold none.
        """
        ...


class JsonCodec:
    """JSON as RFC 8259 has it: text, finite numbers, true, false, null, lists, and objects whose keys are text.

    Examples
    --------
    >>> JSON.loads(JSON.dumps({"name": "Ane Brun", "genres": ["folk"]}))
    {'name': 'Ane Brun', 'genres': ['folk']}
    """

    def dumps(self, value: Any, /) -> bytes:
        """Return compact JSON. Tuples become lists; other types are a :exc:`TypeError`."""
        _check(value, DEEPEST)
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def loads(self, data: bytes, /) -> Any:
        """Return what JSON says; anything else is a :exc:`ValueError`."""
        try:
            return json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None


class BytesCodec:
    """Bytes as they are."""

    def dumps(self, value: bytes, /) -> bytes:
        """Return the same; other types are a :exc:`TypeError`."""
        if not isinstance(value, bytes):
            raise TypeError(f"this cache holds bytes, not {type(value).__name__}: give it a codec, JSON for example")
        return value

    def loads(self, data: bytes, /) -> bytes:
        """Return the same."""
        return data


JSON = JsonCodec()
BYTES = BytesCodec()


def _check(value: object, deepest: int) -> None:
    if value is None or isinstance(value, str | bool | int | float):
        return
    if deepest == 0:
        raise ValueError(f"lists and objects lie within each other more than {DEEPEST} times")
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"JSON's objects have text for keys, not {type(key).__name__}")
            _check(each, deepest - 1)
    elif isinstance(value, list | tuple):
        for each in value:
            _check(each, deepest - 1)
    else:
        raise TypeError(
            f"JSON has no {type(value).__name__}: convert it before it is cached, or give the cache a codec"
        )


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("JSON holds a number beyond what a float can be")
    return number
