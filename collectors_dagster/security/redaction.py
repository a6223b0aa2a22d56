"""Keeping secrets out of logs: by their value where we know it, by their shape where we do not.

Value-based redaction catches what patterns miss (a password inside base64 of a header), patterns catch what nobody
told us (the token of a stranger's answer).
"""

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, quote_plus

from collectors_dagster.security.secrets import stored_secrets

REDACTED = "[redacted]"

MIN_CHARACTERS = 4
"""Shorter values are not replaced: `ab` would blank half of every line and protect nothing."""

_SECRET_NAME = r"(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|authorization|cookie)"  # noqa: S105  # a pattern of names
_SECRET_KEY = re.compile(rf"(?i).*{_SECRET_NAME}")

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), REDACTED),
    (re.compile(r"(://[^/\s:@\"'<>]*:)[^/\s\"'<>]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), REDACTED),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{REDACTED}"),
    (re.compile(r"\b((?i:basic)\s+)(?=(?:[a-z]*[A-Z0-9+/=]){2})[\w+/]{8,}={0,2}(?=[\s\"',;]|$)"), rf"\1{REDACTED}"),
    (
        re.compile(
            rf"(?i)(\b[\w-]*{_SECRET_NAME}\\?[\"']?\s*[=:]\s*\\?[\"']?(?:(?:bearer|basic)\s+)?+)(?!\[)[^\s\"',;&}}\\]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
)


class Redactor:
    """Replaces secrets in text and in nested values. May be shared between threads.

    Examples
    --------
    >>> redactor = Redactor("hunter2-hunter2")
    >>> redactor.redact("tried hunter2-hunter2 at postgresql://me:other@db/x")
    'tried [redacted] at postgresql://me:[redacted]@db/x'
    """

    def __init__(self, *secrets: str) -> None:
        self._lock = threading.Lock()
        self._forms: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        self.learn(*secrets)

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def learn(self, *secrets: str) -> None:
        """Replace these from now on, also where they are encoded."""
        with self._lock:
            self._forms |= {form for secret in secrets for form in _forms(secret)}
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def redact(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def redact_value(self, value: Any) -> Any:
        """Return `value` without secrets, at any depth; a key that is named like a secret loses its value whole."""
        if isinstance(value, str):
            return self.redact(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.redact_value(key): self._redact_item(key, each) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.redact_value(each) for each in value]
        return self._redact_object(value)

    def _redact_item(self, key: object, value: Any) -> Any:
        if isinstance(key, str) and isinstance(value, str | bytes) and _SECRET_KEY.fullmatch(key):
            return REDACTED
        return self.redact_value(value)

    def _redact_object(self, value: object) -> object:
        """Leave an object as it is unless what a renderer would print of it holds a secret."""
        printed = repr(value)
        redacted = self.redact(printed)
        return value if redacted == printed else redacted

    def __call__(self, logger: object, method: str, event: Any) -> Any:
        """Serve as a structlog processor: before the renderer for the values, or after it for the whole line.

        Before the renderer it belongs behind ``format_exc_info``: a traceback that is not text yet is left alone.
        """
        if isinstance(event, str):
            return self.redact(event)
        kept = {"exc_info": event["exc_info"]} if "exc_info" in event else {}
        return {**{name: self._redact_item(name, value) for name, value in event.items()}, **kept}


class GrowingRedactor(Redactor):
    """A redactor that knows these secrets, and those that lie in a directory as soon as they exist."""

    def __init__(self, secrets: Iterable[str], directory: Path) -> None:
        super().__init__(*secrets)
        self._directory = directory
        self._seen_at: int | None = None

    def redact(self, text: str) -> str:
        """Return `text` without secrets."""
        changed_at = _changed_at(self._directory)
        if changed_at != self._seen_at:
            self._seen_at = changed_at
            self.learn(*stored_secrets(self._directory))
        return super().redact(text)


def _changed_at(directory: Path) -> int | None:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return None


class HoldsSecrets(Protocol):
    """The settings, as far as a redactor is concerned."""

    def secret_values(self) -> Iterable[str]:
        """Return every secret among them."""
        ...

    @property
    def secret_directory(self) -> Path:
        """Where the local stack's generated secrets lie."""
        ...


def redactor_for(settings: HoldsSecrets) -> Redactor:
    """Return a redactor that knows every secret of the settings and of the data directory."""
    return GrowingRedactor(settings.secret_values(), settings.secret_directory)


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written."""
    lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
    for each in (secret, *lines):
        if len(each) < MIN_CHARACTERS:
            continue
        yield from (each, repr(each)[1:-1], each.encode().hex())
        yield from _quoted(each)
        yield from _escaped(each)
        yield from _base64_forms(each.encode())


def _quoted(secret: str) -> Iterator[str]:
    for quoted in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda code: code.group().lower(), quoted)


def _escaped(secret: str) -> Iterator[str]:
    """Yield JSON, and JSON inside JSON."""
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1])


def _base64_forms(secret: bytes) -> Iterator[str]:
    """Yield what of the secret is recognisable in base64 of a longer text (``user:secret``), at each alignment."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret).decode()
        settled = whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        if len(settled) >= MIN_CHARACTERS + 1:
            yield settled
            yield settled.translate(str.maketrans("+/", "-_"))
