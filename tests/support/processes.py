"""A host's processes as files, that come, work and go as a test says."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.process import INTERVAL_SECONDS, Processes
from collectors_dagster.collectors.protocol import Host, Watched
from collectors_dagster.scopes import Scope
from tests.support.trees import by_name

WHOLE_HOST = Scope()
KERNEL_FLAGS, USER_FLAGS = 0x00208040, 0x00400000


@dataclass
class ProcessTree:
    """Processes below ``<root>/proc``, and the collector that looks at them every five seconds."""

    root: Path

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.watched = Watched(WHOLE_HOST)
        self.proc.mkdir(parents=True)
        (self.root / "etc").mkdir()
        (self.root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nshop:x:1000:1000::/:/bin/sh\n")
        self.host = Host(self.clock, self.proc, self.root / "sys", 100, 4096, self.root / "etc", self.watched)
        self.collector = Processes(self.host)

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    def write(
        self,
        pid: int,
        name: bytes = b"worker",
        *,
        user_ticks: int = 0,
        system_ticks: int = 0,
        start: int | None = None,
        state: bytes = b"S",
        threads: int = 1,
        pages: int = 10,
        flags: int = USER_FLAGS,
        uid: int = 1000,
        cgroup: str = "/shop",
        read: int | None = 0,
        written: int = 0,
        files: int = 3,
    ) -> None:
        """Write all that is read of a process, over what is there; with `read` of ``None`` its traffic is not told."""
        directory = self.proc / str(pid)
        (directory / "fd").mkdir(parents=True, exist_ok=True)
        fields = [b"0"] * 49
        fields[0] = b"1"
        for at, value in {5: flags, 10: user_ticks, 11: system_ticks, 16: threads, 18: start or pid, 20: pages}.items():
            fields[at] = b"%d" % value
        (directory / "stat").write_bytes(b"%d (%b) %b %b\n" % (pid, name, state, b" ".join(fields)))
        (directory / "status").write_bytes(b"Name:\tx\nUid:\t0\t%d\t0\t0\n" % uid)
        (directory / "cgroup").write_text(f"0::{cgroup}\n")
        for number in range(files):
            (directory / "fd" / str(number)).touch()
        if read is not None:
            (directory / "io").write_text(f"rchar: 1\nread_bytes: {read}\nwrite_bytes: {written}\n")

    def end(self, pid: int) -> None:
        """Let a process vanish."""
        shutil.rmtree(self.proc / str(pid))

    def look(self) -> dict[str, float]:
        """Look when it is due again; return values as ``process_count/<cgroup>/<executable>/<user>``."""
        self.clock.sleep(INTERVAL_SECONDS)
        self.reading = self.collector.read()
        return by_name(self.reading)

    def looks(self, number: int) -> dict[str, float]:
        """Look so many times."""
        return [self.look() for _ in range(number)][-1]
