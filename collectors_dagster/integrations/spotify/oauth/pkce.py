"""Proof Key for Code Exchange (RFC 7636): who asked for consent shows that it is the same who redeems it."""

import base64
import secrets
from hashlib import sha256

from pydantic import SecretStr

_RANDOM_BYTES = 48


def new_verifier() -> SecretStr:
    """Return a code verifier: 64 characters with 384 bits of chance (RFC 7636, 4.1)."""
    return SecretStr(secrets.token_urlsafe(_RANDOM_BYTES))


def challenge(verifier: SecretStr) -> str:
    """Return the S256 challenge of a verifier, which may be seen by anybody.

    Examples
    --------
    >>> challenge(SecretStr("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))  # RFC 7636, appendix B
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    digest = sha256(verifier.get_secret_value().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def new_state() -> str:
    """Return what ties a redirect to the request that it answers (RFC 6749, 10.12)."""
    return secrets.token_urlsafe(32)
