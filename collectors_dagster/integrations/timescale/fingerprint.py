"""A checksum of rows that does not depend on their order: the same rows in other pieces give the same.

Each row is hashed (splitmix64's finalizer, twice with other beginnings), and the hashes are added up modulo 2**64: a
sum over a multiset (Clarke et al., "Incremental Multiset Hash Functions", 2003). It finds what happened by accident; it
is no protection against somebody who wants two loads to look alike.
"""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

_LANES = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Fingerprint:
    """Takes rows in pieces.

    Examples
    --------
    >>> ids, stamps, values = np.array([1, 2]), np.array([10, 20]), np.array([0.5, 1.5])
    >>> whole, parts = Fingerprint(), Fingerprint()
    >>> whole.add(ids, stamps, values)
    >>> for place in (1, 0):
    ...     parts.add(ids[[place]], stamps[[place]], values[[place]])
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._rows = 0
        self._sums = [0 for _ in _LANES]

    def add(self, series_ids: NDArray[np.int64], stamps: NDArray[np.int64], values: Floats) -> None:
        """Take rows; all arrays of shape (n,)."""
        self._rows += len(values)
        bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
        for lane, start in enumerate(_LANES):
            mixed = _mixed(series_ids.astype(np.uint64) ^ np.uint64(start))
            mixed = _mixed(mixed ^ stamps.view(np.uint64))
            mixed = _mixed(mixed ^ bits)
            self._sums[lane] = (self._sums[lane] + int(mixed.sum(dtype=np.uint64))) % 2**64

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits."""
        return sha256(b"".join(part.to_bytes(8, "big") for part in (self._rows, *self._sums))).hexdigest()


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all of them, in place."""
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits
