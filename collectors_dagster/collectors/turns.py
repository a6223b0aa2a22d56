"""Who is served when there is not room for all: everybody in turn."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import TypeVar

Wish = TypeVar("Wish")


def in_turn(wishes: Iterable[Iterable[Wish]]) -> list[Wish]:
    """Return everybody's first wish, then everybody's second, and so on; each wish once.

    Examples
    --------
    >>> in_turn([["a", "b", "c"], ["x"], ["b", "y"]])
    ['a', 'x', 'b', 'y', 'c']
    """
    nothing = object()
    rounds = chain.from_iterable(zip_longest(*wishes, fillvalue=nothing))
    return [wish for wish in dict.fromkeys(rounds) if wish is not nothing]  # type: ignore[misc]
