"""Write the lock files from ``pyproject.toml``, with hashes and without hosts: runtime, development, agent.

Extras stay in the lock (``gql[requests]``): pip in ``--require-hashes`` mode refuses a requirement with extras
that is pinned only without them.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
COMMON = [
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-strip-extras", "--no-annotate"),
    *("--no-header", "--no-emit-index-url", "--no-emit-find-links"),
]


def lock(target: str, *options: str) -> None:
    """Compile one lock file."""
    subprocess.run([UV, *COMMON, *options, "--output-file", target], cwd=ROOT, check=True)


def main() -> None:
    """Lock the runtime first; the development tools and the agent's image agree with it."""
    agreed = ("--constraint", "requirements.txt")
    lock("requirements.txt", "pyproject.toml", *sys.argv[1:])
    lock("requirements-dev.txt", "pyproject.toml", "--group", "dev", *agreed, *sys.argv[1:])
    lock("deploy/agent/requirements.txt", "--group", "agent", *agreed, *sys.argv[1:])


if __name__ == "__main__":
    main()
