"""Who this agent is: a name that outlives restarts, and the epoch that its sequence numbers belong to."""

import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from collectors_dagster.agent.segments import list_segments
from collectors_dagster.config.files import write_atomically

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Identity:
    """An agent and its spool.

    Attributes
    ----------
    epoch : str
        Made anew whenever the spool starts from nothing, so that numbers are never used twice.
    """

    agent_id: str
    epoch: str
    host: str
    root: Path

    @property
    def directory(self) -> Path:
        """Where the segments lie."""
        return self.root / self.epoch


def spool_root(home: Path) -> Path:
    """Return where the agent of a home keeps its identity and its spool."""
    return home / "agent" / "spool"


def load_identity(root: Path) -> Identity:
    """Return the identity kept in `root`; make what is missing, durably."""
    root.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    known = _known(root / "identity.json")
    identity = Identity(known.get("agent_id") or f"{host}-{os.urandom(4).hex()}", known.get("epoch", ""), host, root)
    if known.get("epoch") and identity.directory.is_dir() and list_segments(identity.directory):
        return identity
    return _begun(identity)


def known_identity(root: Path) -> Identity | None:
    """Return the identity kept in `root`, changing nothing; None if there is none with a spool."""
    known = _known(root / "identity.json")
    if not known.get("agent_id") or not known.get("epoch"):
        return None
    identity = Identity(known["agent_id"], known["epoch"], socket.gethostname(), root)
    return identity if identity.directory.is_dir() else None


def read_boot_id(proc_root: Path) -> str:
    """Return what changes with every boot; where the system does not tell, a new one for every start."""
    try:
        return (proc_root / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return os.urandom(16).hex()


def _begun(identity: Identity) -> Identity:
    """Begin an epoch; the spool holds no samples of the present one."""
    if identity.epoch:
        import shutil  # noqa: PLC0415 - large, and needed once at most

        shutil.rmtree(identity.directory, ignore_errors=True)
    begun = Identity(identity.agent_id, os.urandom(8).hex(), identity.host, identity.root)
    begun.directory.mkdir()
    content = json.dumps({"agent_id": begun.agent_id, "epoch": begun.epoch}).encode()
    write_atomically(begun.root / "identity.json", content, mode=0o640)
    return begun


def _known(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, str) and _NAME.fullmatch(value)}
