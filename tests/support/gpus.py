"""GPUs for machines without one: a stand-in for NVIDIA's library, told by a file what to answer."""

import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.protocol import Reading
from collectors_dagster.errors import SourceUnavailableError
from tests.support.waiting import wait_until

SOURCE = Path(__file__).with_name("nvml_stub.c")
LIBRARY = "libnvidia-ml.so.1"
"""The name by which nvidia-ml-py asks the dynamic linker."""


def build_nvml_stub(folder: Path) -> Path:
    """Compile the stand-in; skip without a C compiler. Return the folder to put on the linker's path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): NVML's stand-in cannot be built")
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / LIBRARY), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


class StubNvml:
    """What the stand-in answers, from the next call on."""

    def __init__(self, root: Path) -> None:
        self.script = root / "nvml"
        self.log = root / "nvml.log"
        self.tell()

    def tell(self, *lines: str) -> None:
        """Replace all instructions; nvml_stub.c explains them."""
        draft = self.script.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self.script)

    def calls(self, function: str) -> int:
        """Return how often a function of NVML was called so far."""
        return self.log.read_text().splitlines().count(function) if self.log.exists() else 0


@contextmanager
def stubbed_nvml(library: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubNvml]:
    """Yield a stand-in that child processes of this test load instead of NVIDIA's library."""
    stub = StubNvml(root)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library), prepend=os.pathsep)
    monkeypatch.setenv("NVML_STUB", str(stub.script))
    monkeypatch.setenv("NVML_STUB_LOG", str(stub.log))
    yield stub


def settled(gpu: Gpu, *, seconds: float = 30) -> Reading:
    """Read until there is an answer, and return it."""
    found: list[Reading] = []

    def answered() -> bool:
        with suppress(SourceUnavailableError):
            found[:] = [gpu.read()]
        return bool(found and found[0].values) and not math.isnan(found[0].values[0])

    wait_until(answered, seconds, "an answer of NVML")
    return found[0]


def next_answer(gpu: Gpu) -> Reading:
    """Return an answer to a question put from now on: the one on its way may be older."""
    settled(gpu)
    return settled(gpu)


def child_of(gpu: Gpu) -> int:
    """Return the id of the process that asks NVML."""
    assert gpu._child is not None
    return gpu._child.pid


def alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> None:
    """Return when a process has ended."""
    wait_until(lambda: not alive(pid), 10, f"the end of process {pid}")
