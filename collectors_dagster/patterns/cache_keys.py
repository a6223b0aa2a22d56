"""The key under which a call's result is kept, from its arguments."""

import json
from collections.abc import Callable, Mapping
from inspect import Signature, signature
from typing import Any

KeyOf = Callable[..., str]
"""From a call's arguments to its key."""


def argument_key(function: Callable[..., Any]) -> KeyOf:
    """Return what makes keys of a function's name and its arguments: text, whole numbers, booleans, None, lists.

    Raises
    ------
    TypeError
        If the function's name and arguments do not say what it loads: a lambda, or a function that knows things from
        around it. Two of those would share a key, and one caller would get what was loaded for another.

    Examples
    --------
    >>> def artist(artist_id, market="SE"): ...
    >>> key = argument_key(artist)
    >>> key("4Z8W4fKeB5YxbusRsdQVPb") == key(artist_id="4Z8W4fKeB5YxbusRsdQVPb", market="SE")
    True
    """
    named = getattr(function, "__qualname__", "<lambda>")
    if "<lambda>" in named or any(getattr(function, what, None) for what in ("__closure__", "__self__")):
        raise TypeError(
            f"{named}: name and arguments do not say all that it loads; say it yourself: cache.keyed(lambda ...: ...)"
        )
    shape = signature(function)
    prefix = f"{function.__module__}.{named}"

    def key(*arguments: Any, **keywords: Any) -> str:
        return prefix + json.dumps(_bound(named, shape, arguments, keywords), ensure_ascii=False)

    return key


def checked_key(key: object) -> str:
    """Return a key if it is one.

    Raises
    ------
    TypeError
        If it is no text, or empty.
    """
    if not isinstance(key, str) or not key:
        raise TypeError(f"the key of a cache is text and not empty, not {type(key).__name__}: {key!r}")
    return key


def _bound(named: str, shape: Signature, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> list[Any]:
    bound = shape.bind(*arguments, **keywords)
    bound.apply_defaults()
    for name, value in bound.arguments.items():
        if not _is_plain(value):
            raise TypeError(
                f"{named}: the argument {name!r} is a {type(value).__name__}, of which no key can be made; "
                "say what tells calls apart: cache.keyed(lambda ...: ...)"
            )
    return list(bound.arguments.items())


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, str | bool | int)
