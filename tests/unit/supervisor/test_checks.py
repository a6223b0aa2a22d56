"""What is looked at before anything starts: one line, with the remedy."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.checks import check_owner, check_ports, check_python, check_space, check_writable
from collectors_dagster.supervisor.component import Component, Launch
from collectors_dagster.supervisor.stack import Stack
from tests.support.postgres import free_port


def listening_on(port: int) -> Component:
    launch = Launch(("true",), Path("/"))
    return Component("webserver", lambda: launch, lambda _: True, ports={"webserver": port})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield somebody.getsockname()[1]


def test_a_taken_port_names_the_setting(taken_port: int, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=rf"port {taken_port} for webserver .*COLLECTORS__PORTS__WEBSERVER"):
        check_ports(load_settings(home=tmp_path), [listening_on(taken_port)])


def test_who_has_the_port_is_named(taken_port: int, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=rf"with pid {os.getpid()} has it"):
        check_ports(load_settings(home=tmp_path), [listening_on(taken_port)])


def test_an_address_of_another_machine_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"no address 192\.0\.2\.1: set COLLECTORS__BIND_ADDRESS"):
        check_ports(load_settings(home=tmp_path, bind_address="192.0.2.1"), [listening_on(free_port())])


def test_the_agents_endpoint_is_checked_at_its_own_address(taken_port: int, tmp_path: Path) -> None:
    def components(**agent: str) -> list[Component]:
        settings = load_settings(home=tmp_path, ports={"agent": taken_port}, agent=agent)
        return [each for each in Stack(settings, ManualClock()).components() if each.name == "agent"]

    elsewhere = load_settings(home=tmp_path, bind_address="127.0.0.2")
    with pytest.raises(StartupError, match=rf"port {taken_port} for agent .*COLLECTORS__PORTS__AGENT"):
        check_ports(elsewhere, components())
    with pytest.raises(StartupError, match=r"no address 192\.0\.2\.1: set COLLECTORS__AGENT__ENDPOINT_ADDRESS"):
        check_ports(elsewhere, components(endpoint_address="192.0.2.1"))
    check_ports(elsewhere, components(endpoint_enabled="false"))


def test_a_free_port_passes(tmp_path: Path) -> None:
    check_ports(load_settings(home=tmp_path), [listening_on(free_port())])


def test_an_old_python_is_refused_with_both_versions() -> None:
    with pytest.raises(StartupError, match=r"Python 3\.10 is too old.*3\.11"):
        check_python((3, 10))


def test_this_python_passes() -> None:
    check_python()


def test_a_full_disk_is_refused_and_the_setting_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"MB left and .* MB are needed.*COLLECTORS_HOME"):
        check_space(tmp_path, needed=1 << 62)


def test_a_home_that_cannot_be_made_is_refused_and_the_setting_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(StartupError, match=r"cannot be written \(.+\).*COLLECTORS_HOME"):
        check_writable(in_the_way / "home")


def test_a_home_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stranger = os.geteuid() + 1
    with pytest.raises(StartupError, match="another account"):
        check_owner(tmp_path, stranger)


def test_ones_own_home_passes_and_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "home")
    check_owner(tmp_path / "home", os.geteuid())
    assert list((tmp_path / "home").iterdir()) == []
