"""The agent's plan: read by another process, followed, and kept while the files are bad."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import structlog

from collectors_dagster.agent.plan_watcher import PlanWatcher, read_plan
from collectors_dagster.clock import ManualClock
from collectors_dagster.config.agent_plan import AgentPlan, Secret, dumped, loaded
from collectors_dagster.config.agent_planning import agent_plan
from collectors_dagster.errors import ConfigurationError
from tests.support.project import ACME, Project

LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""Long after every file was written: none counts as one that may change again unseen."""


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock for which no file is fresh."""
    return ManualClock(LATER)


def test_a_plan_survives_the_way_from_one_process_to_another(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    project.write(
        "config/base.yml", "agent: {spool_keys_file: /etc/keys}\nredis: {host: elsewhere, password: s3cret}\n"
    )
    plan = agent_plan()
    assert loaded(dumped(plan)) == plan
    assert plan.tenants.ids() == ("acme",)
    assert plan.secret_values() == ("s3cret",)


def test_a_process_of_its_own_reads_the_same_plan(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    assert read_plan() == agent_plan()


def test_no_plan_shows_a_secret(project: Project) -> None:
    project.write("config/base.yml", "postgres: {host: elsewhere, password: s3cret}\n")
    plan = agent_plan()
    assert plan.store.known_conninfo().get_secret_value().count("s3cret") == 1
    assert "s3cret" not in repr(plan)


def test_where_alerts_go_is_not_told_to_an_agent(project: Project) -> None:
    project.write(
        "config/tenants/acme.yml", ACME.replace("[]", "[{kind: webhook, name: ops, url: 'https://x.example/k3y'}]")
    )
    assert [tenant.alerts for tenant in agent_plan().tenants.tenants] == [()]
    assert "k3y" not in dumped(agent_plan())


def test_bad_files_at_the_start_are_an_error_that_says_what_is_wrong(project: Project) -> None:
    project.write("config/base.yml", "agent: {sample_intervall_seconds: 1}\n")
    with pytest.raises(ConfigurationError, match="sample_interval_seconds"):
        read_plan()


@pytest.mark.parametrize(
    ("path", "text", "seen"),
    [
        ("config/tenants/acme.yml", ACME, lambda plan: plan.tenants.ids() == ("acme",)),
        ("config/base.yml", "log: {level: debug}\n", lambda plan: plan.log.level == "debug"),
        (
            "config/base.yml",
            "debug: {components: {agent: {profile: true}}}\n",
            lambda plan: plan.debug.of("agent").profile,
        ),
    ],
    ids=["a new tenant", "a setting", "a switch"],
)
def test_what_changes_is_followed(
    project: Project, clock: ManualClock, path: str, text: str, seen: Callable[[AgentPlan], bool]
) -> None:
    watcher = PlanWatcher(agent_plan(), clock, agent_plan)
    watcher.look()
    project.write(path, text)
    assert not seen(watcher.current())
    clock.move(3)
    watcher.look()
    assert seen(watcher.current())


def test_nothing_new_is_the_same_object_and_starts_no_reading(project: Project, clock: ManualClock) -> None:
    readings: list[str] = []

    def counted(before: str) -> AgentPlan:
        readings.append(before)
        return first

    first = agent_plan()
    watcher = PlanWatcher(first, clock, counted)
    for _ in range(5):
        clock.move(3)
        watcher.look()
        assert watcher.current() is first
    assert not readings


@pytest.mark.parametrize("text", ["log: [", "nonsense: 1\n"])
def test_bad_settings_keep_the_good_ones_while_tenants_are_followed(
    project: Project, clock: ManualClock, text: str
) -> None:
    project.write("config/base.yml", "log: {level: error}\nredis: {host: elsewhere, password: s3cret}\n")
    watcher = PlanWatcher(agent_plan(), clock, read_plan)
    project.write("config/base.yml", text)
    project.write("config/tenants/acme.yml", ACME)
    clock.move(3)
    watcher.look()
    assert watcher.current().log.level == "error"
    assert watcher.current().secret_values() == ("s3cret",)
    assert watcher.current().tenants.ids() == ("acme",)
    (problem,) = watcher.problems
    assert "base.yml" in problem
    assert problem.endswith("; keeping the settings as they were")


def test_a_reading_that_fails_keeps_everything_and_is_told_until_one_succeeds(
    project: Project, clock: ManualClock
) -> None:
    def failing(before: str) -> AgentPlan:
        raise ConfigurationError("no process can be started")

    first = agent_plan()
    watcher = PlanWatcher(first, clock, failing)
    watcher.asked.set()
    watcher.look()
    assert watcher.current() is first
    assert watcher.problems == ("no process can be started; keeping everything as it was",)


def test_once_asked_everything_is_read_at_once_and_the_log_names_what_must_wait(
    project: Project, clock: ManualClock
) -> None:
    watcher = PlanWatcher(agent_plan(), clock, agent_plan)
    watcher.look()
    project.write("config/base.yml", "log: {level: debug}\nredis: {host: elsewhere, password: s3cret}\n")
    watcher.asked.set()
    with structlog.testing.capture_logs() as told:
        watcher.look()
    assert watcher.current().log.level == "debug"
    warned = [line for line in told if line["log_level"] == "warning"]
    assert [line["settings"] for line in warned] == [["redis.host", "redis.password"]]
    assert "s3cret" not in json.dumps(told)
    assert not watcher.asked.is_set()


def test_a_changed_secret_is_a_change_that_shows_no_value(project: Project) -> None:
    project.write("config/base.yml", "redis: {host: elsewhere, password: first}\n")
    before = agent_plan()
    project.write("config/base.yml", "redis: {host: elsewhere, password: other}\n")
    assert agent_plan().changed_since(before) == ("redis.password",)


def test_a_secret_is_shown_by_no_representation() -> None:
    assert "hunter2" not in f"{Secret('hunter2')} {Secret('hunter2')!r}"
