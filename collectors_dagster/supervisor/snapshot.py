"""The state file: what the supervisor tells everybody else, written atomically."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Self

from collectors_dagster.config.files import write_atomically
from collectors_dagster.supervisor.component import Ending
from collectors_dagster.supervisor.lifecycle import State
from collectors_dagster.supervisor.processes import Identity


@dataclass(frozen=True, slots=True)
class ComponentSnapshot:
    """One component as `collectors status` shows it.

    Attributes
    ----------
    process : Identity or None
        Of its process, while there is one.
    since : str
        ISO 8601, UTC: since when it has been in its state.
    message : str
        Why it is not ready, for people.
    """

    name: str
    state: State
    since: str
    process: Identity | None = None
    needs: tuple[str, ...] = ()
    restarts: int = 0
    address: str = ""
    version: str = ""
    look_at: str = ""
    message: str = ""
    log: str = ""
    ending: Ending = field(default_factory=Ending)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = asdict(self)
        plain["ending"]["signal"] = int(self.ending.signal)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_json` wrote."""
        ending, process = dict(plain["ending"]), plain["process"]
        ending["signal"] = Signals(ending["signal"])
        return cls(
            **{
                **plain,
                "state": State(plain["state"]),
                "process": Identity(**process) if process else None,
                "needs": tuple(plain["needs"]),
                "ending": Ending(**ending),
            }
        )


@dataclass(frozen=True, slots=True)
class StackSnapshot:
    """The supervisor and all its components.

    Attributes
    ----------
    reason : str
        Why the start failed, in one line; empty otherwise.
    requests : int
        How many times the supervisor has looked at what is wanted.
    """

    supervisor: Identity
    since: str
    version: str
    components: Sequence[ComponentSnapshot]
    reason: str = ""
    requests: int = 0

    @property
    def is_running(self) -> bool:
        """Whether the supervisor that wrote this is alive."""
        return self.supervisor.is_alive

    def write(self, path: Path) -> None:
        """Replace the state file."""
        plain = {
            "supervisor": asdict(self.supervisor),
            "since": self.since,
            "version": self.version,
            "reason": self.reason,
            "requests": self.requests,
            "components": [component.as_json() for component in self.components],
        }
        write_atomically(path, json.dumps(plain, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what the last supervisor wrote, or ``None``."""
        try:
            plain = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return cls(
            supervisor=Identity(**plain["supervisor"]),
            since=plain["since"],
            version=plain["version"],
            reason=plain["reason"],
            requests=plain["requests"],
            components=[ComponentSnapshot.from_json(each) for each in plain["components"]],
        )
