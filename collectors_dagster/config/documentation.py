"""``docs/settings.md`` and ``.env.example``, written from the code.

``python -m collectors_dagster.config.documentation`` prints both. With
``settings`` or ``env`` it prints one of them; with ``write`` it writes both into the checkout.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from collectors_dagster.config.environment import DOCUMENT_NAMES, variable_for
from collectors_dagster.config.fields import allowed, bare_type, is_secret, is_section, leaves
from collectors_dagster.config.settings import PROJECT_ROOT, Settings
from collectors_dagster.config.tenant_schema import TenantFile

_LINES_BEFORE_SETTINGS = """\
# Settings

Written by `python -m collectors_dagster.config.documentation write`; a test compares it with the code.

Where a setting comes from, the strongest first:

1. the command line: `collectors --set ports.postgres=25432 up`
2. the environment, and under it the file `.env` beside `config/`: the variable in the table
3. the environment under the original design's names, where the table gives one
4. `config/<environment>.yml`, the environment being `development`, `staging` or `production`
   (`COLLECTORS_ENVIRONMENT`)
5. `config/base.yml`
6. the default in the table

A secret can also be read from a file: put `_FILE` behind the variable's name and the file's path into it. An unknown
key, a value out of range and malformed YAML are refused with the file, the line, the key and what is allowed.
`log.level` and `debug` are followed while the stack runs; the rest is read at the start of each component.

"""

_LINES_BEFORE_TENANTS = """
## Tenant files

One file `config/tenants/<id>.yml` per tenant, written by hand or by `collectors tenant add`. Whatever runs follows a
change within 5 seconds; a bad file keeps the tenant at its last good version and is told in the log and in
`collectors status`; a removed file ends the collection, not the stored data.

| key | meaning | allowed | default |
| --- | --- | --- | --- |
"""

_LINES_BEFORE_ENV = """\
# Copy to .env and uncomment what you want to change; docs/settings.md explains every setting.
# Written by `python -m collectors_dagster.config.documentation write`; a test compares it with the code.
# Nothing here is needed for `make up`: without it everything runs embedded on this machine.
# A secret can also be read from a file: put _FILE behind the variable's name and the file's path into it.
"""


def settings_page() -> str:
    """Return the table of all settings in Markdown."""
    return _LINES_BEFORE_SETTINGS + "\n".join(_sections()) + _LINES_BEFORE_TENANTS + "\n".join(_tenant_rows()) + "\n"


def env_example() -> str:
    """Return a file of variables, all commented out with their defaults."""
    return _LINES_BEFORE_ENV + "".join(_env_blocks())


def _groups() -> Mapping[str, list[tuple[tuple[str, ...], FieldInfo]]]:
    groups: dict[str, list[tuple[tuple[str, ...], FieldInfo]]] = {"general": []}
    for path, field in leaves(Settings):
        groups.setdefault(path[0] if len(path) > 1 else "general", []).append((path, field))
    return groups


def _about(group: str) -> str:
    field = Settings.model_fields.get(group)
    kind = bare_type(field.annotation) if field else None
    return " ".join((kind.__doc__ or "").split()) if is_section(kind) else "Of the whole process."


def _sections() -> Iterator[str]:
    for group, members in _groups().items():
        yield f"## {group}\n\n{_about(group)}\n"
        yield "| setting | meaning | allowed | default | variable |\n| --- | --- | --- | --- | --- |"
        yield from (_row(path, field) for path, field in members)
        yield ""


def _row(path: tuple[str, ...], field: FieldInfo) -> str:
    names = [f"`{variable_for(path)}`", *(f"`{name}`" for name in _document_names(path))]
    default = "as for all" if _is_inherited(path) else _default(field)
    cells = (f"`{'.'.join(path)}`", field.description or "", allowed(field), default, ", ".join(names))
    return "| " + " | ".join(cells) + " |"


def _is_inherited(path: tuple[str, ...]) -> bool:
    """Say whether what is not set here is taken from elsewhere: then no default stands beside it."""
    return path[:2] == ("patterns", "services")


def _tenant_rows() -> Iterator[str]:
    for path, field in leaves(TenantFile):
        default = "required" if field.is_required() else _default(field)
        yield f"| `{'.'.join(path)}` | {field.description} | {allowed(field)} | {default} |"


def _document_names(path: tuple[str, ...]) -> list[str]:
    return [name for name, target in DOCUMENT_NAMES.items() if target == path]


def _default(field: FieldInfo) -> str:
    text = _plain_default(field)
    return f"`{text}`" if text else "-"


def _plain_default(field: FieldInfo) -> str:
    if isinstance(field.default, Path):
        own = field.default.is_relative_to(PROJECT_ROOT)
        return (field.default.relative_to(PROJECT_ROOT) if own else field.default).as_posix()
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, tuple):
        return ",".join(str(each) for each in field.default)
    return "" if field.default is None else str(field.default)


def _env_blocks() -> Iterator[str]:
    for group, members in _groups().items():
        lines = [_env_lines(path, field) for path, field in members]
        yield f"\n# {group}: {_about(group)}\n" + "".join(lines)


def _env_lines(path: tuple[str, ...], field: FieldInfo) -> str:
    if path == ("config_dir",):
        return ""  # it decides where this very file lies
    name = _document_names(path)[0] if _document_names(path) else variable_for(path)
    value = "" if is_secret(field) or _is_inherited(path) else _plain_default(field)
    return f"# {field.description} Allowed: {allowed(field)}.\n# {name}={value}\n"


def _write() -> None:
    (PROJECT_ROOT / "docs" / "settings.md").write_text(settings_page(), encoding="utf-8")
    (PROJECT_ROOT / ".env.example").write_text(env_example(), encoding="utf-8")


COMMANDS: Mapping[str, Callable[[], str | None]] = {"settings": settings_page, "env": env_example, "write": _write}


def main(arguments: list[str]) -> int:
    """Print or write what was asked for; print both without arguments."""
    for name in arguments or ["settings", "env"]:
        if name not in COMMANDS:
            sys.stderr.write(f"unknown: {name}; use one of {', '.join(COMMANDS)}\n")
            return 2
        sys.stdout.write(COMMANDS[name]() or "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
