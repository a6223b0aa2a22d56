"""Settings given on the command line, ``--set ports.postgres=25432``: the strongest layer.

They become variables of this process, so that the components it starts, which read their own settings, agree.
"""

import os
from collections.abc import Sequence

from collectors_dagster.config.environment import variable_for
from collectors_dagster.config.explanations import nearest
from collectors_dagster.config.fields import field_at, is_group, is_secret, leaves, type_at
from collectors_dagster.config.settings import Settings
from collectors_dagster.errors import ConfigurationError


def apply_command_line(assignments: Sequence[str]) -> None:
    """Let ``key=value`` pairs win over every other layer, here and in the processes started from here.

    Raises
    ------
    ConfigurationError
        For an unknown key, and for a secret: a command line is visible to every user of the machine.
    """
    for name, value in as_variables(assignments).items():
        os.environ[name] = value


def as_variables(assignments: Sequence[str]) -> dict[str, str]:
    """Return the variables that say the same as ``key=value`` pairs.

    Examples
    --------
    >>> as_variables(["ports.postgres=25432"])
    {'COLLECTORS__PORTS__POSTGRES': '25432'}
    """
    return dict(_variable(each) for each in assignments)


def _variable(assignment: str) -> tuple[str, str]:
    key, separator, value = assignment.partition("=")
    path = tuple(key.strip().split("."))
    if not separator or not value.strip():
        raise ConfigurationError("--set must be key=value, e.g. --set ports.postgres=25432")
    field = field_at(Settings, path)
    if field is None or is_group(type_at(Settings, path)):
        known = [".".join(each) for each, _ in leaves(Settings)]
        like = nearest(key, known)
        hint = f"did you mean {like}? " if like else ""
        raise ConfigurationError(f"--set {key[:80]}: there is no such setting; {hint}docs/settings.md lists them all")
    if is_secret(field):
        raise ConfigurationError(
            f"--set {key}: a command line is visible to every user of the machine; "
            f"use the variable {variable_for(path)} or {variable_for(path)}_FILE"
        )
    return variable_for(path), value
