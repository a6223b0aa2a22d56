"""Where things lie under ``COLLECTORS_HOME``, as far as the supervisor is concerned."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The data directory of the local stack."""

    root: Path

    @property
    def logs(self) -> Path:
        """Log files, one per component, with their rotated predecessors."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What running processes tell about themselves."""
        return self.root / "run"

    @property
    def state(self) -> Path:
        """The supervisor's state file."""
        return self.run / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def wanted(self) -> Path:
        """Names of the components to run; an empty list means all."""
        return self.run / "wanted.json"

    def log_of(self, component: str) -> Path:
        """Return the log file of a component."""
        return self.logs / f"{component}.log"

    def output_of(self, component: str) -> Path:
        """Return the file that a component prints to, on its way into the log."""
        return self.logs / "output" / f"{component}.out"

    def make(self) -> None:
        """Create the directories; the root can be passed through by the database's account, secrets cannot."""
        for directory in (self.root, self.logs, self.logs / "output", self.run):
            directory.mkdir(parents=True, exist_ok=True)
        secrets = self.root / "secrets"
        secrets.mkdir(exist_ok=True)
        secrets.chmod(0o700)
