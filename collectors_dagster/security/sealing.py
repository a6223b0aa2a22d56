"""Data that only a holder of the key can read: AES-256-GCM, with the keys of before still readable.

Sealed bytes are ``key id (8) | nonce (12) | ciphertext and tag``. The key id is the beginning of a hash of the key, so
that after a change of keys each piece says which one opens it.
"""

import base64
import binascii
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from collectors_dagster.errors import SecurityError

KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
OVERHEAD_BYTES = _ID_BYTES + _NONCE_BYTES + 16
"""By how much sealing makes something longer."""


class Secret(Protocol):
    """Text that is shown to nobody by accident; pydantic's ``SecretStr`` is one."""

    def get_secret_value(self) -> str:
        """Return the text."""
        ...


class UnknownKeyError(SecurityError):
    """The key that sealed this is not among ours."""


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Sealer:
    """Seals with the first of its keys and opens with any of them.

    Parameters
    ----------
    keys : iterable of bytes
        `KEY_BYTES` each, the present one first.

    Examples
    --------
    >>> sealer = Sealer([bytes(32)])
    >>> sealer.unseal(sealer.seal(b"plain", b"where"), b"where")
    b'plain'
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        # Imported here: whoever seals nothing does not pay its memory.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._ciphers: dict[bytes, _Cipher] = {key_id(key): AESGCM(key) for key in keys}
        self._present = next(iter(self._ciphers))

    def __repr__(self) -> str:
        return f"Sealer({len(self._ciphers)} keys)"

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return `plain` sealed; only with the same `context` it opens again."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._present + nonce + self._ciphers[self._present].encrypt(nonce, plain, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed.

        Raises
        ------
        UnknownKeyError
            If none of the keys sealed it.
        SecurityError
            If it was changed, or belongs to another context.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # as above

        known, nonce = sealed[:_ID_BYTES], sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        cipher = self._ciphers.get(known)
        if cipher is None:
            raise UnknownKeyError(f"sealed with the key {known.hex()}, which is not among those given")
        try:
            return cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], context)
        except (InvalidTag, ValueError):
            raise SecurityError("sealed data were changed, or belong elsewhere") from None


def key_id(key: bytes) -> bytes:
    """Return the name of a key, which tells nothing of it."""
    from hashlib import sha256  # noqa: PLC0415  # as above

    return sha256(b"collectors key id" + key).digest()[:_ID_BYTES]


def read_keys(text: Secret) -> list[bytes]:
    """Return keys written in base64, one per line or separated by spaces or commas, the present one first.

    Raises
    ------
    SecurityError
        If one of them is no key; the message tells which, and how to make one, but not what it says.
    """
    return _keys(text.get_secret_value())


def _keys(text: str) -> list[bytes]:
    words = text.replace(",", " ").split()
    if not words:
        raise SecurityError(f"there is no key; {_REMEDY}")
    return [_key(word, position) for position, word in enumerate(words, 1)]


def load_sealer(keys: Secret | None, file: Path | None) -> Sealer | None:
    """Return what seals with the configured keys; None if there are none.

    Raises
    ------
    SecurityError
        If both are given, or the keys cannot be read.
    """
    if keys is not None and file is not None:
        raise SecurityError("keys are given both as a value and as a file; remove one of the two settings")
    if file is not None:
        return Sealer(_keys(_read(file)))
    return None if keys is None else Sealer(read_keys(keys))


_REMEDY = "make one with `head -c 32 /dev/urandom | base64`"


def _key(word: str, position: int) -> bytes:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SecurityError(f"key number {position} is not {KEY_BYTES} bytes in base64; {_REMEDY}")
    return key


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SecurityError(f"{path}: others may read this key file; run `chmod 600 {path}`")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
    raise SecurityError(f"{path}: the key file cannot be read: {reason}")
