"""What Redis may answer: strictly a list of integers, bytes and nothings."""

from collections.abc import Iterable

from collectors_dagster.patterns.shared_state import Item, Reply

_MOST_ITEMS = 10_000


class MalformedReplyError(ValueError):
    """The answer has not the shape that every step answers in."""


def parsed(answer: object) -> Reply:
    """Return `answer` if it has the shape of a reply.

    Raises
    ------
    MalformedReplyError
        If it has not. The message does not hold the answer, which may be anything.

    Examples
    --------
    >>> parsed([1, b"two", None])
    [1, b'two', None]
    """
    if not isinstance(answer, list) or len(answer) > _MOST_ITEMS:
        raise MalformedReplyError("it is no list, or one far too long")
    return list(_items(answer))


def _items(answer: Iterable[object]) -> Iterable[Item]:
    for item in answer:
        if item is not None and type(item) is not int and type(item) is not bytes:
            raise MalformedReplyError(f"it holds a {type(item).__name__}")
        yield item
