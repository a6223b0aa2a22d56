import subprocess
import sys
from pathlib import Path

import pytest

from collectors_dagster.errors import SecurityError
from collectors_dagster.security.secrets import read_or_create, stored_secrets
from tests.support.project import Project

NAME = "collectors.password"


def path_of(project: Project, name: str = NAME) -> Path:
    return project.root / "home" / "secrets" / name


def test_secret_is_made_once_and_is_the_same_ever_after(project: Project) -> None:
    first = read_or_create(project.settings(), NAME)
    assert len(first.get_secret_value()) >= 32
    assert read_or_create(project.settings(), NAME) == first
    assert read_or_create(project.settings(), "dagster.password") != first


def test_secret_is_readable_by_its_owner_only(project: Project) -> None:
    read_or_create(project.settings(), NAME)
    assert path_of(project).stat().st_mode & 0o777 == 0o600
    assert path_of(project).parent.stat().st_mode & 0o077 == 0


def test_secret_needs_no_quoting_anywhere(project: Project) -> None:
    value = read_or_create(project.settings(), NAME).get_secret_value()
    assert value.replace("-", "").replace("_", "").isalnum()
    assert value.isascii()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".hidden", "a.b.c", "a b", "x" * 10 + "\n"])
def test_name_that_is_none_is_refused(project: Project, name: str) -> None:
    with pytest.raises(SecurityError, match="no name of a secret"):
        read_or_create(project.settings(), name)
    assert not path_of(project).parent.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_secret_readable_by_others_is_refused_with_the_remedy(project: Project, mode: int) -> None:
    read_or_create(project.settings(), NAME)
    path_of(project).chmod(mode)
    with pytest.raises(SecurityError, match="readable by others; chmod 600 it"):
        read_or_create(project.settings(), NAME)


def test_link_in_the_place_of_a_secret_is_refused(project: Project) -> None:
    path_of(project).parent.mkdir(parents=True)
    path_of(project).symlink_to(project.root / "elsewhere")
    with pytest.raises(SecurityError, match="not a plain file"):
        read_or_create(project.settings(), NAME)
    assert not (project.root / "elsewhere").exists()


def test_empty_secret_is_refused_rather_than_replaced(project: Project) -> None:
    read_or_create(project.settings(), NAME)
    path_of(project).write_text("")
    with pytest.raises(SecurityError, match="is empty; restore it"):
        read_or_create(project.settings(), NAME)


def test_data_directory_that_cannot_be_written_is_told_with_the_remedy(project: Project) -> None:
    project.write("home", "a file in its place")
    with pytest.raises(SecurityError, match="the data directory must be writable"):
        read_or_create(project.settings(), NAME)


READER = """
from collectors_dagster.config import load_settings
from collectors_dagster.security.secrets import read_or_create
print(read_or_create(load_settings(), "collectors.password").get_secret_value())
"""


def test_processes_that_ask_at_once_get_the_same_secret(project: Project) -> None:
    readers = [
        subprocess.Popen([sys.executable, "-c", READER], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(4)
    ]
    answers = {each.communicate()[0].strip() for each in readers}
    assert len(answers) == 1
    assert answers == {path_of(project).read_text()}
    assert [path.name for path in path_of(project).parent.iterdir()] == [NAME]


def test_secret_stays_out_of_representations_and_errors(project: Project) -> None:
    secret = read_or_create(project.settings(), NAME)
    path_of(project).chmod(0o644)
    with pytest.raises(SecurityError) as caught:
        read_or_create(project.settings(), NAME)
    assert secret.get_secret_value() not in f"{caught.value} {secret!r} {secret}"


def test_stored_secrets_are_those_that_can_be_read(project: Project) -> None:
    assert stored_secrets(project.settings().secret_directory) == []
    first = read_or_create(project.settings(), NAME)
    read_or_create(project.settings(), "dagster.password")
    path_of(project, "dagster.password").chmod(0o644)
    assert stored_secrets(project.settings().secret_directory) == [first.get_secret_value()]
