"""How long a user waits: ``collectors --help`` beside its floor and a peer.

The floor is ``python -c pass``; the peer is Dagster's own ``dagster --help``, the command line our users know.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.report import Goal, Report, main

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROUNDS = 7
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "collectors --help": [str(BIN / "collectors"), "--help"],
    "dagster --help": [str(BIN / "dagster"), "--help"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one call."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def measure() -> Report:
    """Interleave the commands, so that a busy moment hits all of them, and compare medians."""
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    ours = median["collectors --help"]
    goals = (
        Goal("collectors --help, seconds", ours, 0.3),
        Goal("collectors --help / dagster --help", ours / median["dagster --help"], 0.5),
    )
    return Report("startup", goals, {"median_seconds": median, "rounds": ROUNDS})


if __name__ == "__main__":
    main(measure, __doc__)
