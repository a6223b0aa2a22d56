"""A Redis Cluster on this machine: three masters, three replicas, all on loopback, from the system's ``redis-server``.

The wheel's server forms no cluster of the version that is installed in production, so that without a system's server
(``apt-get install redis-server``) whatever needs a cluster is skipped, and says so.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.postgres import free_port
from tests.support.redis import answers
from tests.support.waiting import wait_until

NODES = 6
NODE_TIMEOUT_MS = 1500
SLOTS = 16384
SHORT = 1.0
"""Seconds that a test's own question to a node may take."""


@dataclass
class RedisCluster:
    """Six nodes that can be killed, paused and started again."""

    ports: tuple[int, ...]
    gossip_ports: tuple[int, ...]
    folder: Path
    _processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The address of the whole, three nodes named."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports[::2])

    def start(self, port: int) -> None:
        """Start a node; what it knew of the cluster lies in its folder."""
        place = self.folder / str(port)
        place.mkdir(exist_ok=True)
        command = [
            *(server_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-port", str(self._gossip(port))),
            *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
        ]
        self._processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: answers(port), seconds=20, what=f"an answer of the node {port}")

    def kill(self, port: int) -> None:
        """End a node as ``kill -9`` does."""
        self.signal(port, signal.SIGKILL)
        self._processes.pop(port).wait()

    def pause(self, port: int) -> None:
        """Stop a node where it stands: it takes connections and answers nothing."""
        self.signal(port, signal.SIGSTOP)

    def go_on(self, port: int) -> None:
        """Let a paused node go on."""
        self.signal(port, signal.SIGCONT)

    def signal(self, port: int, number: signal.Signals) -> None:
        """Send a signal to a node's process."""
        self._processes[port].send_signal(number)

    def masters(self) -> dict[int, list[tuple[int, int]]]:
        """Return the slots of each master, by its port, as a node that answers sees them."""
        found: dict[int, list[tuple[int, int]]] = {}
        for first, last, master, *_ in self._ask("CLUSTER", "SLOTS"):
            found.setdefault(int(master[1]), []).append((int(first), int(last)))
        return found

    def master_of(self, slot: int) -> int:
        """Return the port of the master that holds a slot."""
        return next(
            port for port, ranges in self.masters().items() if any(first <= slot <= last for first, last in ranges)
        )

    def heal(self) -> None:
        """Start what was killed, let go on what was paused, and wait until every node agrees that all is well."""
        for port in self.ports:
            if port in self._processes:
                self.go_on(port)
            else:
                self.start(port)
        wait_until(self._is_whole, seconds=60, what="the cluster")

    def empty(self) -> None:
        """Delete all keys."""
        for port in self.masters():
            say(port, "FLUSHALL")

    def stop(self) -> None:
        """End all nodes."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def form(self) -> None:
        """Make one cluster of the six."""
        for port in self.ports:
            self.start(port)
        masters, replicas = self.ports[:3], self.ports[3:]
        for at, port in enumerate(masters):
            say(port, "CLUSTER", "ADDSLOTSRANGE", SLOTS * at // 3, SLOTS * (at + 1) // 3 - 1)
            say(port, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for port in self.ports[1:]:
            say(port, "CLUSTER", "MEET", "127.0.0.1", self.ports[0], self._gossip(self.ports[0]))
        wait_until(lambda: all(self._knows_all(port) for port in self.ports), seconds=30, what="that all have met")
        for port, master in zip(replicas, masters, strict=True):
            say(port, "CLUSTER", "REPLICATE", say(master, "CLUSTER", "MYID"))
        wait_until(self._is_whole, seconds=60, what="the cluster")

    def _gossip(self, port: int) -> int:
        return self.gossip_ports[self.ports.index(port)]

    def _ask(self, *words: object) -> Any:
        for port in self._processes:
            try:
                return say(port, *words)
            except redis.RedisError:
                continue
        raise AssertionError("no node of the cluster answers")

    def _knows_all(self, port: int) -> bool:
        return b"cluster_known_nodes:%d\r" % NODES in say(port, "CLUSTER", "INFO")

    def _is_whole(self) -> bool:
        try:
            return all(self._agrees(port) for port in self.ports)
        except redis.RedisError:
            return False

    def _agrees(self, port: int) -> bool:
        """Tell whether a node sees three masters with a replica each, and follows one or is followed."""
        info, replication = say(port, "CLUSTER", "INFO"), say(port, "INFO", "replication")
        places = say(port, "CLUSTER", "SLOTS")
        linked = b"master_link_status:up" in replication or b"connected_slaves:1" in replication
        covered = sum(last - first + 1 for first, last, *_ in places) == SLOTS
        return b"cluster_state:ok" in info and linked and covered and all(len(place) == 4 for place in places)


def say(port: int, *words: object) -> Any:
    """Say something to one node and return its plain answer."""
    with redis.Redis(port=port, socket_timeout=SHORT, socket_connect_timeout=SHORT, protocol=2) as client:
        plain: Any = client
        plain.response_callbacks.clear()
        return plain.execute_command(*words)


def server_program() -> str:
    """Return the system's ``redis-server``; skip the test where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("a Redis Cluster needs the system's redis-server (apt-get install redis-server)")
    return found


@contextmanager
def running_cluster() -> Iterator[RedisCluster]:
    """Start six nodes, make a cluster of them and yield it."""
    server_program()
    with tempfile.TemporaryDirectory(prefix="collectors-cluster-") as folder:
        ports = _different_ports(2 * NODES)
        cluster = RedisCluster(ports[:NODES], ports[NODES:], Path(folder))
        try:
            cluster.form()
            yield cluster
        finally:
            cluster.stop()


def _different_ports(number: int) -> tuple[int, ...]:
    ports: set[int] = set()
    while len(ports) < number:
        ports.add(free_port())
    return tuple(ports)
