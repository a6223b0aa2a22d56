"""The Lua halves of steps."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).with_name("scripts")
"""Where the scripts of our own steps lie: ``<step's name>.lua``."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name by which Redis remembers it."""

    body: bytes
    digest: str


class ScriptShelf:
    """Scripts by their steps' names, read once."""

    def __init__(self, folders: Sequence[Path] = (SCRIPTS,)) -> None:
        self._folders = tuple(folders)
        self._read: dict[str, Script] = {}

    def __getitem__(self, name: str) -> Script:
        """Return a script.

        Raises
        ------
        LookupError
            If there is none: the step was written in Python only.
        """
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = self._load(name)
        return found

    def _load(self, name: str) -> Script:
        paths = [folder / f"{name}.lua" for folder in self._folders] if name.isidentifier() else []
        for path in paths:
            if path.exists():
                body = path.read_bytes()
                return Script(body, hashlib.sha1(body, usedforsecurity=False).hexdigest())
        raise LookupError(f"the step {name!r} has no script in Lua")
