from datetime import UTC, datetime

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.settings_watcher import SettingsWatcher
from tests.support.project import Project


def test_log_level_and_debug_are_followed_without_a_restart(project: Project) -> None:
    clock = ManualClock(datetime.now(UTC))
    project.write("config/development.yml", "log: {level: info}\n")
    watcher = SettingsWatcher(project.settings(), clock)
    before = watcher.current()

    project.replace("config/development.yml", "log: {level: debug}\ndebug: {components: {scorer: {profile: true}}}\n")
    assert watcher.current() is before
    clock.move(5)
    assert watcher.current().log.level == "debug"
    assert watcher.current().debug.of("scorer").profile


def test_new_file_of_the_environment_is_noticed(project: Project) -> None:
    clock = ManualClock(datetime.now(UTC))
    watcher = SettingsWatcher(project.settings(), clock)
    project.write("config/development.yml", "log: {level: debug}\n")
    clock.move(5)
    assert watcher.current().log.level == "debug"


def test_command_line_outlives_a_reload(project: Project) -> None:
    clock = ManualClock(datetime.now(UTC))
    watcher = SettingsWatcher(project.settings(log={"level": "error"}), clock)
    project.write("config/base.yml", "log: {level: debug, backups: 9}\n")
    clock.move(5)
    assert (watcher.current().log.level, watcher.current().log.backups) == ("error", 9)


@pytest.mark.parametrize("bad", ["log: {level: loud}", "log: [", "lgo: {}"])
def test_bad_file_keeps_the_settings_and_says_so(project: Project, bad: str) -> None:
    clock = ManualClock(datetime.now(UTC))
    project.write("config/base.yml", "log: {level: warning}\n")
    watcher = SettingsWatcher(project.settings(), clock)
    project.replace("config/base.yml", bad)
    clock.move(5)
    assert watcher.current().log.level == "warning"
    (problem,) = watcher.problems
    assert problem.startswith("config/base.yml:")
    assert problem.endswith("; keeping the settings as they were")

    project.replace("config/base.yml", "log: {level: error}\n")
    clock.move(5)
    assert watcher.current().log.level == "error"
    assert watcher.problems == ()


def test_nothing_new_is_the_same_object(project: Project) -> None:
    clock = ManualClock(datetime.now(UTC))
    project.write("config/base.yml", "log: {level: warning}\n")
    watcher = SettingsWatcher(project.settings(), clock)
    before = watcher.current()
    for _ in range(5):
        clock.move(3)
        assert watcher.current() is before
