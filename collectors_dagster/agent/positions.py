"""Where each tenant's delivery began, and how far it is known to be: durable, because the database may be away.

The first is truth: a tenant is due nothing from before. The second is a memory of what the store said last, so that
after a restart without the database what is delivered still counts as delivered. Nothing is sent or left out by it:
where delivery goes on, the store alone says.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from collectors_dagster.agent.reserve import cursor_reserve
from collectors_dagster.config.files import write_atomically
from collectors_dagster.logs import get_logger

log = get_logger("delivery")


def admitted(begun: Mapping[str, int], tenants: Iterable[str], next_seq: int, *, complete: bool) -> dict[str, int]:
    """Return the first number of each tenant: new ones begin with the next record, those that left are forgotten.

    Parameters
    ----------
    complete : bool
        Whether `tenants` is certainly all of them; if a file cannot be read, nobody is forgotten.

    Examples
    --------
    >>> admitted({"acme": 5, "gone": 7}, ["acme", "new"], 9, complete=True)
    {'acme': 5, 'new': 9}
    """
    present = {tenant: begun.get(tenant, next_seq) for tenant in tenants}
    return present if complete else {**begun, **present}


class Positions:
    """The files ``tenants.json`` and ``delivered.json`` in ``<spool>/<epoch>``."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tenants.json"
        self._acked_path = directory / "delivered.json"
        self._reserve = cursor_reserve(directory)
        self._begun = _read(self._path)
        self._acked = {tenant: seq for tenant, seq in _read(self._acked_path).items() if tenant in self._begun}
        self._kept = dict(self._acked)

    def first_seq(self, tenant_id: str) -> int:
        """Return the first number that a tenant is due."""
        return self._begun[tenant_id]

    def acked_seq(self, tenant_id: str) -> int:
        """Return up to where everything was delivered, or not due, when the store was asked last."""
        begun = self._begun[tenant_id]
        return max(begun - 1, self._acked.get(tenant_id, 0))

    def note(self, tenant_id: str, acked_seq: int) -> None:
        """Remember how far the store says that a tenant is; :meth:`keep` makes it durable."""
        if tenant_id in self._begun:
            self._acked[tenant_id] = acked_seq

    def keep(self) -> None:
        """Write what was noted; if that fails, a restart takes more for undelivered than is."""
        if self._acked == self._kept:
            return
        try:
            write_atomically(self._acked_path, json.dumps(self._acked).encode(), mode=0o640)
        except OSError:  # a full disk: no room is kept for this
            return
        self._kept = dict(self._acked)

    def admit(self, tenants: Iterable[str], next_seq: int, *, complete: bool) -> None:
        """Take over the present tenants, durably; without any room only for as long as this process lives."""
        found = admitted(self._begun, tenants, next_seq, complete=complete)
        if found == self._begun:
            return
        self._begun = found
        self._acked = {tenant: seq for tenant, seq in self._acked.items() if tenant in found}
        try:
            self._write(json.dumps(found).encode())
        except OSError as error:
            log.warning("where tenants begin is not kept over a restart", error=f"{self._path}: {error.strerror}")

    def _write(self, content: bytes) -> None:
        """Write durably; on a full disk, into the room that is kept for this."""
        try:
            write_atomically(self._path, content, mode=0o640)
        except OSError:
            if not self._reserve.give_way():
                raise
            write_atomically(self._path, content, mode=0o640)


def _read(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_bytes())
        return {str(tenant): int(seq) for tenant, seq in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
