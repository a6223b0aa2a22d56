"""Looking into a running component: followed from the configuration, no restart."""

import logging
from collections.abc import Iterator
from pathlib import Path
from tracemalloc import is_tracing

import pytest
from structlog.testing import capture_logs

from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.settings_watcher import SettingsWatcher
from collectors_dagster.monitoring.debug import DebugSession


class Debugged:
    """A component whose configuration can be rewritten."""

    def __init__(self, root: Path, clock: ManualClock) -> None:
        self.config = root / "config"
        self.config.mkdir()
        self.clock = clock
        self.reports = root / "home" / "debug"
        settings = load_settings(home=root / "home", config_dir=self.config)
        self.session = DebugSession("agent", SettingsWatcher(settings, clock), clock, lambda: {"lag_seconds": 1.5})

    def switch(self, component: str = "agent", **switches: bool) -> None:
        words = "".join(f"      {name}: {str(on).lower()}\n" for name, on in switches.items())
        (self.config / "base.yml").write_text(f"debug:\n  components:\n    {component}:\n{words}")
        self.pass_time(5)

    def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)
        self.session.tick()

    def written(self, kind: str) -> list[str]:
        return [path.read_text() for path in sorted(self.reports.glob(f"agent-{kind}-*.txt"))]


@pytest.fixture
def debugged(tmp_path: Path, manual_clock: ManualClock) -> Iterator[Debugged]:
    ours = Debugged(tmp_path, manual_clock)
    yield ours
    ours.session.close()


def busy_work() -> int:
    return sum(number * number for number in range(400_000))


def test_nothing_is_measured_unless_asked(debugged: Debugged) -> None:
    with capture_logs() as lines:
        debugged.pass_time(600)
    assert lines == []
    assert not debugged.reports.exists()
    assert not is_tracing()


def test_metrics_are_logged_every_ten_seconds_with_the_components_own(debugged: Debugged) -> None:
    debugged.switch(metrics=True)
    with capture_logs() as lines:
        for _ in range(20):
            debugged.pass_time(1)
    assert len(lines) == 2
    assert lines[0]["rss_bytes"] > 1_000_000
    assert lines[0]["lag_seconds"] == 1.5


def test_a_profile_names_what_took_the_time(debugged: Debugged) -> None:
    debugged.switch(profile=True)
    busy_work()
    debugged.switch(profile=False)
    assert "busy_work" in debugged.written("profile")[0]


def test_a_profile_that_stays_on_is_written_every_minute_and_few_are_kept(debugged: Debugged) -> None:
    debugged.switch(profile=True)
    for _ in range(8):
        debugged.pass_time(61)
    assert len(debugged.written("profile")) == 5


def test_memory_names_the_places_that_hold_it(debugged: Debugged) -> None:
    debugged.switch(memory=True)
    kept = [bytes(100_000) for _ in range(20)]
    debugged.switch(memory=False)
    report = debugged.written("memory")[0]
    assert "test_debug.py" in report
    assert int(report.split()[0]) > 1_900_000
    assert len(kept) == 20


def test_memory_switched_off_costs_nothing_any_more(debugged: Debugged) -> None:
    debugged.switch(memory=True)
    on = is_tracing()
    debugged.switch(memory=False)
    assert (on, is_tracing()) == (True, False)


def test_a_process_that_ends_with_its_work_leaves_its_reports(tmp_path: Path, manual_clock: ManualClock) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yml").write_text("debug: {components: {runs: {profile: true, memory: true}}}\n")
    settings = load_settings(home=tmp_path, config_dir=tmp_path / "config")
    for instance in ("run-1", "run-2"):  # at the same instant
        session = DebugSession("runs", SettingsWatcher(settings, manual_clock), manual_clock, instance=instance)
        session.tick()
        busy_work()
        session.finish()
    assert not is_tracing()
    for kind in ("memory", "profile"):
        names = [path.stem for path in sorted((tmp_path / "debug").glob(f"runs-{kind}-*.txt"))]
        assert [name[-6:] for name in names] == ["-run-1", "-run-2"]


def test_another_components_switches_are_not_ours(debugged: Debugged) -> None:
    with capture_logs() as lines:
        debugged.switch(component="scorer", metrics=True, memory=True, profile=True)
    assert lines == []
    assert not is_tracing()


def test_a_bad_file_keeps_the_switches_as_they_were(debugged: Debugged) -> None:
    debugged.switch(memory=True)
    (debugged.config / "base.yml").write_text("debug: [")
    debugged.pass_time(5)
    assert is_tracing()


@pytest.fixture
def root_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.usefixtures("root_level")
def test_log_level_is_followed(debugged: Debugged) -> None:
    for level, number in (("error", logging.ERROR), ("debug", logging.DEBUG)):
        (debugged.config / "base.yml").write_text(f"log: {{level: {level}}}\n")
        debugged.pass_time(5)
        assert logging.getLogger().level == number


def test_settings_file_that_turns_bad_is_told_once_and_changes_nothing(debugged: Debugged) -> None:
    (debugged.config / "base.yml").write_text("log: {level: loud}\n")
    with capture_logs() as lines:
        for _ in range(3):
            debugged.pass_time(5)
    assert [line["event"] for line in lines] == ["settings refused"]
    assert "config/base.yml:1: log.level = 'loud' is refused" in lines[0]["problem"]
