"""Tenant files: read, kept at their last good version, watched, written."""

import contextlib
import re
from pathlib import Path

import yaml

from collectors_dagster.clock import Clock
from collectors_dagster.config.documents import parse_document, read_content
from collectors_dagster.config.environment import referenced, with_dotenv
from collectors_dagster.config.files import remove_durably, write_atomically
from collectors_dagster.config.sections import checked_address
from collectors_dagster.config.settings import Settings, shown_path
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.config.tenant_schema import (
    KNOWN_COLLECTORS,
    AlertChoice,
    SpotifyChoice,
    TenantFile,
    checked_tenant_file,
)
from collectors_dagster.config.watching import POLL_SECONDS, Fingerprint
from collectors_dagster.errors import ConfigurationError, TenantIsolationError
from collectors_dagster.tenants import (
    AlertTarget,
    Retention,
    SpotifySource,
    SystemSource,
    Tenant,
    TenantDirectory,
    checked_tenant_id,
)

_SUFFIX = ".yml"
_NOT_OURS = re.compile(r"\..*|.*~|.*\.(md|txt|bak|orig|swp|tmp)")


def tenant_directory(settings: Settings) -> Path:
    """Return the directory of the tenant files."""
    return settings.config_dir / "tenants"


def tenant_path(settings: Settings, tenant_id: str) -> Path:
    """Return where the file of a tenant lies; refuses what is no tenant id."""
    return tenant_directory(settings) / f"{checked_tenant_id(tenant_id)}{_SUFFIX}"


def tenant_files(settings: Settings) -> tuple[Path, ...]:
    """Return what has to be watched to follow the tenants: the directory, and what lies in it."""
    return (tenant_directory(settings), *(_files(settings) or ()))


def shown_tenant_path(settings: Settings, tenant_id: str) -> str:
    """Name the file of a tenant for people."""
    return shown_path(tenant_path(settings, tenant_id), settings.config_dir)


def load_tenants(settings: Settings) -> TenantDirectory:
    """Read all tenant files; a bad one gives its last good version and a line in `problems`."""
    return _Reader(settings).read()


class TenantWatcher:
    """The tenants as they are now, following the directory without a restart. For one thread.

    The directory is watched, not the files: an atomic replace or a swapped symbolic link leaves a watched file
    behind. A look costs one ``stat`` per file, at most every two seconds of `clock`.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._reader = _Reader(settings)
        self._settings = settings
        self._clock = clock
        self._fingerprint = Fingerprint(clock)
        self._next_look = clock.monotonic()
        self._current = TenantDirectory()

    def current(self) -> TenantDirectory:
        """Return the tenants; the same object for as long as nothing changed."""
        if self._clock.monotonic() >= self._next_look:
            self._next_look = self._clock.monotonic() + POLL_SECONDS
            self._look()
        return self._current

    def latest(self) -> TenantDirectory:
        """Return the tenants as they are at this moment, however short ago somebody looked."""
        self._next_look = self._clock.monotonic()
        return self.current()

    def _look(self) -> None:
        if self._fingerprint.changed(tenant_files(self._settings)):
            found = self._reader.read()
            self._current = found if found != self._current else self._current


def write_tenant(settings: Settings, tenant: TenantFile, *, replace: bool = False) -> Path:
    """Write a tenant's file, seen whole or not at all.

    Raises
    ------
    ConfigurationError
        If there is one already and `replace` is false, or the directory cannot be written.
    """
    path = tenant_path(settings, tenant.id)
    shown = shown_path(path, settings.config_dir)
    mode = 0o600 if any(each.holds_address for each in tenant.alerts) else 0o644  # it may hold a credential
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _as_yaml(tenant), mode=mode, replace=replace)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            problem = f"there is a tenant {tenant.id} already; change its file or use --replace"
        else:
            problem = f"cannot be written: {error.strerror}; {_REMEDY}"
        raise ConfigurationError(f"{shown}: {problem}") from None
    return path


def remove_tenant(settings: Settings, tenant_id: str) -> Path:
    """Remove a tenant's file and its last good copy; the tenant's stored data stay.

    Raises
    ------
    ConfigurationError
        If there is none, or the directory cannot be written.
    """
    path = tenant_path(settings, tenant_id)
    try:
        removed = remove_durably(path)
    except OSError as error:
        shown = shown_path(path, settings.config_dir)
        raise ConfigurationError(f"{shown}: cannot be removed: {error.strerror}; {_REMEDY}") from None
    if not removed:
        load_tenants(settings).find(tenant_id)  # names the nearest tenant
    _LastGood(settings).forget(tenant_id)
    return path


_REMEDY = "change the rights of the directory, or the ConfigMap it comes from"


def _as_yaml(tenant: TenantFile) -> bytes:
    values = tenant.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text.encode("utf-8")


def _files(settings: Settings) -> tuple[Path, ...] | None:
    """Return what lies in the tenants' directory but hidden files, notes and editors' copies; None without one."""
    try:
        found = sorted(tenant_directory(settings).iterdir())
    except OSError:
        return None
    return tuple(path for path in found if not _NOT_OURS.fullmatch(path.name))


class _LastGood:
    """The content of each tenant's last good file, in memory and, for the next start, on disk."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.home / "run" / "tenants"
        self._content: dict[str, bytes] = {}

    def ids(self) -> set[str]:
        on_disk = self._directory.glob(f"*{_SUFFIX}") if self._directory.is_dir() else ()
        return {path.stem for path in on_disk} | set(self._content)

    def content(self, tenant_id: str) -> bytes | None:
        if tenant_id not in self._content:
            with contextlib.suppress(OSError):
                self._content[tenant_id] = self._path(tenant_id).read_bytes()
        return self._content.get(tenant_id)

    def keep(self, tenant_id: str, content: bytes) -> str | None:
        """Keep `content`; return a problem if it will not outlive this process."""
        if self.content(tenant_id) == content and self._path(tenant_id).exists():
            return None
        self._content[tenant_id] = content
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(tenant_id), content, mode=0o600)
        except OSError as error:
            return f"{self._path(tenant_id)}: the last good version cannot be kept: {error.strerror}"
        return None

    def forget(self, tenant_id: str) -> None:
        self._content.pop(tenant_id, None)
        with contextlib.suppress(OSError):
            remove_durably(self._path(tenant_id))

    def _path(self, tenant_id: str) -> Path:
        return self._directory / f"{tenant_id}{_SUFFIX}"


class _Reader:
    """Reads the directory; what was parsed once is not parsed again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last_good = _LastGood(settings)
        self._parsed: dict[Path, tuple[bytes, TenantFile]] = {}

    def read(self) -> TenantDirectory:
        files = _files(self._settings)
        if files is None:
            return self._without_directory()
        tenants: list[Tenant] = []
        problems: list[str] = []
        for path in files:
            tenant, found = self._tenant_in(path)
            tenants += [tenant] if tenant else []
            problems += found
        for gone in self._last_good.ids() - {path.stem for path in files}:
            self._last_good.forget(gone)
        return TenantDirectory(tuple(sorted(tenants, key=lambda each: each.id)), tuple(problems))

    def _without_directory(self) -> TenantDirectory:
        """Keep everybody: a directory that is away is an accident, not the end of all tenants."""
        shown = shown_path(tenant_directory(self._settings), self._settings.config_dir)
        kept = [self._kept(tenant_id) for tenant_id in sorted(self._last_good.ids())]
        tenants = tuple(each for each in kept if each)
        return TenantDirectory(
            tenants,
            (f"{shown}: the directory cannot be listed; keeping the last good version of {len(tenants)} tenants",),
        )

    def _tenant_in(self, path: Path) -> tuple[Tenant | None, list[str]]:
        shown = shown_path(path, self._settings.config_dir)
        try:
            self._check_name(path, shown)
            content = read_content(path, shown)
            file = self._parse(path, content, shown)
        except (ConfigurationError, TenantIsolationError) as error:
            return self._fall_back(path.stem, str(error))
        not_kept = self._last_good.keep(file.id, content)
        tenant, problems = self._served(file, shown)
        return tenant, problems + ([not_kept] if not_kept else [])

    @staticmethod
    def _check_name(path: Path, shown: str) -> None:
        if path.suffix != _SUFFIX:
            raise ConfigurationError(f"{shown}: is not read: a tenant file is named <id>{_SUFFIX}")
        try:
            checked_tenant_id(path.stem)
        except TenantIsolationError as error:
            reason = str(error)
        else:
            return
        raise ConfigurationError(f"{shown}: the file's name: {reason}")

    def _parse(self, path: Path, content: bytes, shown: str) -> TenantFile:
        known = self._parsed.get(path)
        if known and known[0] == content:
            return known[1]
        file = parse_tenant(content, shown, expected_id=path.stem)
        self._parsed[path] = (content, file)
        return file

    def _fall_back(self, tenant_id: str, problem: str) -> tuple[Tenant | None, list[str]]:
        tenant = self._kept(tenant_id)
        ending = "keeping its last good version" if tenant else "there is no good version of it yet"
        return tenant, [f"{line}; {ending}" for line in problem.splitlines()]

    def _kept(self, tenant_id: str) -> Tenant | None:
        content = self._last_good.content(tenant_id)
        if content is None:
            return None
        try:
            file = parse_tenant(content, "last good version", expected_id=tenant_id)
        except ConfigurationError:
            return None  # written by another version of this program
        return self._served(file, "last good version")[0]

    def _served(self, file: TenantFile, shown: str) -> tuple[Tenant, list[str]]:
        targets: list[AlertTarget] = []
        problems: list[str] = []
        for choice in file.alerts:
            try:
                targets.append(AlertTarget(choice.kind, choice.name, self._address(choice)))
            except (ConfigurationError, ValueError) as error:
                problems.append(f"{shown}: alert target {choice.name} is left out: {error}")
        return as_tenant(file, self._settings, tuple(targets)), problems

    def _address(self, choice: AlertChoice) -> str | None:
        if choice.url is None or choice.holds_address:
            return choice.url
        return checked_address(secret_behind(choice.url, self._settings))


def secret_behind(reference: str, settings: Settings) -> str:
    """Return the secret that a tenant file names as ``env:NAME`` or ``file:/path``.

    Raises
    ------
    ConfigurationError
        If there is nothing behind it.
    """
    dotenv = settings.config_dir.parent / ".env"
    return referenced(reference, with_dotenv(process_environment(), dotenv))


def parse_tenant(content: bytes, shown: str, *, expected_id: str) -> TenantFile:
    """Check the content of a tenant file.

    Raises
    ------
    ConfigurationError
        With one line per problem.
    """
    document = parse_document(content, shown)
    file = checked_tenant_file(document.values, document.place)
    if file.id != expected_id:
        place = document.place(("id",))
        raise ConfigurationError(f"{place}: id = {file.id!r} must equal the file's name, {expected_id}")
    return file


def as_tenant(file: TenantFile, settings: Settings, alerts: tuple[AlertTarget, ...]) -> Tenant:
    """Fill in the deployment's defaults where the file is silent."""
    return Tenant(
        id=file.id,
        name=file.name,
        tier=file.tier,
        system=_system(file, settings),
        retention=Retention(
            raw_days=file.retention.raw_days or settings.retention.raw_days,
            hourly_days=file.retention.hourly_days or settings.retention.hourly_days,
        ),
        alerts=alerts,
        spotify=_spotify(file.sources.spotify),
        synthetic=file.synthetic,
    )


def _spotify(chosen: SpotifyChoice) -> SpotifySource:
    return SpotifySource(
        account=chosen.account,
        client_id=chosen.client_id,
        client_secret=chosen.client_secret,
        sandbox=chosen.sandbox,
        enabled=chosen.enabled
        if chosen.enabled is not None
        else bool(chosen.account or chosen.client_id or chosen.sandbox),
        keep_days=chosen.keep_days,
        max_artists=chosen.max_artists,
    )


def _system(file: TenantFile, settings: Settings) -> SystemSource:
    chosen, default = file.sources.system_performance, settings.collectors.system_performance
    return SystemSource(
        enabled=default.enabled if chosen.enabled is None else chosen.enabled,
        collectors=chosen.collectors or chosen.scope.chosen.sources or KNOWN_COLLECTORS,
        detail=chosen.detail,
        collection_interval_seconds=chosen.collection_interval or default.collection_interval,
        ml_enabled=default.ml_enabled if chosen.ml_enabled is None else chosen.ml_enabled,
        anomaly_threshold=chosen.anomaly_threshold or default.anomaly_threshold,
        sampling=chosen.sampling.strategy,
        slowest_seconds=chosen.sampling.slowest,
        scope=chosen.scope.chosen,
        max_series=chosen.max_series or default.max_series,
    )
