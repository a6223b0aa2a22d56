"""Reading what the accounts service answers (RFC 6749, 5.1 and 5.2): tolerant of what is new, strict about what we use.

Errors say what was refused and why, in the service's words without anything that was sent; never a token.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from collectors_dagster.errors import (
    CollectorsError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.security.redaction import Redactor

UNSAID_LIFETIME_SECONDS = 300.0
"""A token whose life the answer does not tell is believed for so long; a 401 tells otherwise."""
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 86_400.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
"""VSCHAR without blanks: what may stand in a header."""
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_MOST_WORDS, _MOST_TEXT = 200, 1000


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A good answer; None: it did not say."""

    access_token: SecretStr
    lifetime_seconds: float
    refresh_token: SecretStr | None = None
    scopes: tuple[str, ...] | None = None


class TokenRefusedError(RequestRejectedError):
    """The accounts service refused to give tokens.

    Attributes
    ----------
    error : str
        Its code: ``invalid_grant``, ``invalid_client``, ...
    """

    def __init__(self, message: str, *, operation: str, error: str) -> None:
        super().__init__(message, service=SERVICE, operation=operation)
        self.error = error


def read_tokens(body: bytes, operation: str) -> TokenAnswer:
    """Return the tokens in the body of a good answer.

    Raises
    ------
    UnexpectedResponseError
        If they are not there, or the answer is cut off.
    """
    values = _object(body)
    access, refresh = _token(values.get("access_token")), _token(values.get("refresh_token"))
    kind = values.get("token_type", "Bearer")
    if access is None:
        raise _unexpected(operation, "without a usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _unexpected(operation, "with a token_type that is not Bearer")
    return TokenAnswer(access, _lifetime(values.get("expires_in")), refresh, _scopes(values.get("scope")))


def refusal(
    status: int, body: bytes, operation: str, *, retry_after: float | None, sent: Sequence[SecretStr]
) -> CollectorsError:
    """Return the error for an answer that is not 200.

    Parameters
    ----------
    sent : sequence of SecretStr
        What must not come back in the message, should the service repeat it.
    """
    if status == 429:
        text = f"{SERVICE}: asked us to come back later (429) at {operation}"
        return RateLimitedError(text, service=SERVICE, operation=operation, retry_after_seconds=retry_after)
    if status >= 500 or status == 408:
        text = f"{SERVICE}: failed ({status}) at {operation}"
        return ServiceFailedError(text, service=SERVICE, operation=operation, retry_after_seconds=retry_after)
    if 300 <= status < 400:
        text = f"{SERVICE}: answered {operation} with a redirect ({status}), which is not followed; "
        return RequestRejectedError(text + "check spotify.accounts_url", service=SERVICE, operation=operation)
    code, words = _reason(body, sent)
    remedy = _REMEDIES.get(code, "")
    said = ": ".join(part for part in (code, words) if part)
    text = f"{SERVICE}: refused {operation} ({status}, {said or 'without a reason'}){'; ' + remedy if remedy else ''}"
    return TokenRefusedError(text, operation=operation, error=code)


_REMEDIES = {
    "invalid_client": "check spotify.client_id and spotify.client_secret (or those of the tenant's file)",
    "unauthorized_client": "this application may not ask for tokens in this way; check its settings at Spotify",
    "invalid_scope": "check spotify.scopes",
    "unsupported_grant_type": "check spotify.accounts_url",
}


def _reason(body: bytes, sent: Sequence[SecretStr]) -> tuple[str, str]:
    """Return the code and the words of an error; the API's own shape is understood too, and plain text."""
    try:
        values = _object(body)
    except UnexpectedResponseError:
        text = body[:_MOST_TEXT].decode("utf-8", "replace")
        return "", "" if "<" in text or "{" in text else _harmless(text, sent)
    found: Any = values.get("error")
    words: Any = values.get("error_description")
    if isinstance(found, dict):
        found, words = found.get("reason") or found.get("status"), found.get("message")
    code = str(found) if isinstance(found, str | int) and _CODE.fullmatch(str(found)) else ""
    return code, _harmless(words, sent) if isinstance(words, str) else ""


def _harmless(words: str, sent: Sequence[SecretStr]) -> str:
    plain = "".join(each if each.isprintable() else " " for each in words)
    return Redactor(*(each.get_secret_value() for each in sent)).redact(" ".join(plain.split()))[:_MOST_WORDS]


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _unexpected("a request", "with something that is no JSON object")
    return values


def _unexpected(operation: str, what: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(f"{SERVICE}: answered {operation} {what}", service=SERVICE, operation=operation)


def _token(value: object) -> SecretStr | None:
    return SecretStr(value) if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def _lifetime(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return min(max(seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS) if seconds > 0 else UNSAID_LIFETIME_SECONDS


def _scopes(value: object) -> tuple[str, ...] | None:
    return tuple(value.split()) if isinstance(value, str) else None
