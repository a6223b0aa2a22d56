"""A setting that nobody reads is a promise that nobody keeps."""

import ast
from collections.abc import Iterator
from pathlib import Path

from collectors_dagster.config.fields import leaves
from collectors_dagster.config.settings import PROJECT_ROOT, Settings


def test_every_setting_is_read_by_somebody() -> None:
    read = {name for path in _sources() for name in _attributes_read(path)}
    unread = {path[-1] for path, _ in leaves(Settings)} - read
    assert unread == set()


def _sources() -> Iterator[Path]:
    for room in ("collectors_dagster", "assets", "resources", "sensors"):
        yield from (path for path in (PROJECT_ROOT / room).rglob("*.py") if path.name != "sections.py")


def _attributes_read(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
