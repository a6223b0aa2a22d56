"""Where each tenant's delivery began: durable, because the database may be away when a tenant appears."""

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
    """The file ``<spool>/<epoch>/tenants.json``."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tenants.json"
        self._reserve = cursor_reserve(directory)
        self._begun = self._read()

    def first_seq(self, tenant_id: str) -> int:
        """Return the first number that a tenant is due."""
        return self._begun[tenant_id]

    def admit(self, tenants: Iterable[str], next_seq: int, *, complete: bool) -> None:
        """Take over the present tenants, durably; without any room only for as long as this process lives."""
        found = admitted(self._begun, tenants, next_seq, complete=complete)
        if found == self._begun:
            return
        self._begun = found
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

    def _read(self) -> dict[str, int]:
        try:
            content = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(tenant): int(first) for tenant, first in content.items()}
