"""The settings page and .env.example say what the code does."""

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values

from collectors_dagster.config.documentation import env_example, main, settings_page
from collectors_dagster.config.environment import DOCUMENT_NAMES, variable_for
from collectors_dagster.config.fields import leaves
from collectors_dagster.config.settings import PROJECT_ROOT, Settings

REMEDY = "run python -m collectors_dagster.config.documentation write"


@pytest.mark.parametrize(("path", "written"), [("docs/settings.md", settings_page), (".env.example", env_example)])
def test_page_is_what_the_code_says(path: str, written: object) -> None:
    assert callable(written)
    assert (PROJECT_ROOT / path).read_text(encoding="utf-8") == written(), REMEDY


def test_page_names_every_setting_and_every_variable() -> None:
    page = settings_page()
    for path, _ in leaves(Settings):
        assert f"| `{'.'.join(path)}` |" in page
        assert f"`{variable_for(path)}`" in page
    for name in DOCUMENT_NAMES:
        assert f"`{name}`" in page


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("|")]
    assert rows
    assert {row.count(" | ") for row in rows if not row.startswith("| ---")} == {4, 3}, "settings, tenant files"


def test_example_sets_nothing_until_a_line_is_uncommented() -> None:
    assert dotenv_values(stream=io.StringIO(env_example())) == {}


def test_example_names_only_variables_that_are_read() -> None:
    known = {variable_for(path) for path, _ in leaves(Settings)} | set(DOCUMENT_NAMES)
    lines = [line.removeprefix("# ") for line in env_example().splitlines()]
    named = {line.partition("=")[0] for line in lines if "=" in line and line.partition("=")[0].isupper()}
    assert named
    assert named <= known


def test_example_holds_no_secret_and_no_path_of_the_machine() -> None:
    assert str(Path.home()) not in env_example()
    assert str(PROJECT_ROOT) not in env_example() + settings_page()


def test_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nosuch"]) == 2
    assert "settings, env, write" in capsys.readouterr().err
