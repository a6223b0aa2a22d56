"""What a client remembers over the end of processes and of Redis: documents in a database, one per kind and name."""

from typing import Any, Protocol, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


class ClientMemory(Protocol):
    """A few small documents. Called from a thread, rarely: when a client is opened, and when there is news."""

    def load(self, kind: str, name: str) -> JsonObject | None:
        """Return a document, or ``None`` where there is none."""
        ...

    def save(self, kind: str, name: str, document: JsonObject) -> None:
        """Keep a document in the place of the one before."""
        ...


class ForgetfulMemory:
    """Remembers nothing: what Redis knows must do."""

    def load(self, kind: str, name: str) -> JsonObject | None:
        """Return nothing."""
        return None

    def save(self, kind: str, name: str, document: JsonObject) -> None:
        """Do nothing."""
