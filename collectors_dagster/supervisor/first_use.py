"""What `collectors up` does once everything runs, so that every page has something to show."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.files import write_atomically
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.stack import location

SHOWCASE = "showcase"
"""The tenant whose history is synthetic."""


@dataclass(frozen=True, slots=True)
class FirstUse:
    """A command of ours that `up` runs, and the note that it was done."""

    title: str
    command: tuple[str, ...]
    note: Path
    value: str
    settings: Settings

    @property
    def is_done(self) -> bool:
        """Whether the note says so."""
        return self.note.exists() and json.loads(self.note.read_text()) == self.value

    def run(self, output: TextIO) -> None:
        """Say what is done and run it, with its own words going to `output` too.

        Raises
        ------
        StartupError
            If it failed; what runs goes on.
        """
        output.write(f"{self.title} ...\n")
        output.flush()
        environment = dict(process_environment()) | location(self.settings)
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-m", "collectors_dagster.cli", *self.command],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=output,
            check=False,
        )
        if done.returncode:
            words = " ".join(self.command)
            raise StartupError(
                f"everything runs, but `collectors {words}` failed with code {done.returncode}: "
                "see its output above, then run it again"
            )
        write_atomically(self.note, json.dumps(self.value).encode())


def steps(settings: Settings, clock: Clock, *, demo: bool, pipeline: bool) -> list[FirstUse]:
    """Return what is asked for and was not done yet: the demonstration once, the pipeline once a day."""
    notes = settings.home / "run"
    today = clock.now().date().isoformat()
    has_showcase = SHOWCASE in load_tenants(settings).ids()
    seed = ("demo", "seed", "--tenant", SHOWCASE, "--days", "14")
    run = ("run", "pipeline", "--wait")
    wanted = [
        *(
            [FirstUse("Writing a synthetic history of showcase", seed, notes / "demo.json", SHOWCASE, settings)]
            if demo and has_showcase
            else []
        ),
        *([FirstUse("Running the pipeline", run, notes / "pipeline.json", today, settings)] if pipeline else []),
    ]
    return [step for step in wanted if not step.is_done]
