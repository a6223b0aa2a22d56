"""Identifiers of 22 base-62 digits that hold an index: found again without a table, and never guessed."""

from hashlib import blake2b

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 22
_INDEX_BYTES = 4
_MARK_BYTES = 12


def base62(number: int, length: int = LENGTH) -> str:
    """Return a number in base 62, filled with zeros.

    Examples
    --------
    >>> base62(62 * 62 + 1, 4)
    '0101'
    """
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def is_base62(text: str) -> bool:
    """Return whether a text has the shape of an identifier."""
    return len(text) == LENGTH and all(character in ALPHABET for character in text)


class Identifiers:
    """Turns indexes of one kind of thing into identifiers, and back.

    Examples
    --------
    >>> artists = Identifiers(seed=1, kind="artist")
    >>> artists.index_of(artists.of(41))
    41
    >>> artists.index_of(Identifiers(seed=1, kind="album").of(41)) is None
    True
    """

    def __init__(self, seed: int, kind: str) -> None:
        self._key = f"{seed}/{kind}".encode()

    def of(self, index: int) -> str:
        """Return the identifier of an index below 2**32."""
        mark = self._mark(index)
        hidden = index ^ self._veil(mark)
        return base62(int.from_bytes(mark + hidden.to_bytes(_INDEX_BYTES, "big"), "big"))

    def index_of(self, identifier: str) -> int | None:
        """Return the index, or ``None`` for what is no identifier of this kind and seed."""
        if not is_base62(identifier):
            return None
        number = 0
        for character in identifier:
            number = number * 62 + _VALUES[character]
        if number >= 1 << 8 * (_MARK_BYTES + _INDEX_BYTES):
            return None
        content = number.to_bytes(_MARK_BYTES + _INDEX_BYTES, "big")
        mark = content[:_MARK_BYTES]
        index = int.from_bytes(content[_MARK_BYTES:], "big") ^ self._veil(mark)
        return index if self._mark(index) == mark else None

    def _mark(self, index: int) -> bytes:
        return _digest(self._key, index.to_bytes(_INDEX_BYTES, "big"), _MARK_BYTES)

    def _veil(self, mark: bytes) -> int:
        return int.from_bytes(_digest(self._key, mark, _INDEX_BYTES), "big")


_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def _digest(key: bytes, text: bytes, size: int) -> bytes:
    return blake2b(text, key=key, digest_size=size).digest()
