"""Reloading when asked."""

import json
import threading

import pytest
import structlog

from collectors_dagster.agent.reload import Reload
from collectors_dagster.clock import ManualClock
from collectors_dagster.config.settings_watcher import SettingsWatcher
from collectors_dagster.config.tenants import TenantWatcher
from tests.support.project import ACME, Project


def test_nothing_is_read_before_it_is_asked_for(project: Project, manual_clock: ManualClock) -> None:
    settings = project.settings()
    watcher, tenants = SettingsWatcher(settings, manual_clock), TenantWatcher(settings, manual_clock)
    reload = Reload(threading.Event(), settings, watcher, tenants)
    tenants.current()
    watcher.current()
    project.write("config/tenants/acme.yml", ACME)
    assert not reload.tick()
    assert tenants.current().ids() == ()


def test_once_asked_both_are_read_at_once_and_the_log_names_what_must_wait(
    project: Project, manual_clock: ManualClock
) -> None:
    settings, asked = project.settings(), threading.Event()
    watcher, tenants = SettingsWatcher(settings, manual_clock), TenantWatcher(settings, manual_clock)
    reload = Reload(asked, settings, watcher, tenants)
    tenants.current()
    watcher.current()
    project.write("config/tenants/acme.yml", ACME)
    project.write("config/base.yml", "log: {level: debug}\nredis: {host: elsewhere, password: s3cret}\n")
    asked.set()
    with structlog.testing.capture_logs() as told:
        assert reload.tick()
    assert tenants.current().ids() == ("acme",)
    assert watcher.current().log.level == "debug"
    warned = [line for line in told if line["log_level"] == "warning"]
    assert [line["settings"] for line in warned] == [["redis.host", "redis.password"]]
    assert "s3cret" not in json.dumps(told)
    assert not reload.tick()


@pytest.mark.parametrize("text", ["log: [", "nonsense: 1\n"])
def test_bad_settings_keep_the_good_ones(project: Project, manual_clock: ManualClock, text: str) -> None:
    settings, asked = project.settings(), threading.Event()
    watcher = SettingsWatcher(settings, manual_clock)
    reload = Reload(asked, settings, watcher, TenantWatcher(settings, manual_clock))
    watcher.current()
    project.write("config/base.yml", text)
    asked.set()
    with structlog.testing.capture_logs() as told:
        reload.tick()
    assert told[0]["problems"] == 1
    assert watcher.current() is settings
