"""Reads settings and tenants for an agent and says in JSON what they are: ``python -m``, once per change.

On standard input it takes the settings of before (empty at the first time): while the files are bad, those go on to
hold. Exit code 1 and a line per problem on standard error if there is no plan at all.
"""

import json
import sys
import zlib
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from collectors_dagster.config.agent_plan import (
    AgentOptions,
    AgentPlan,
    BreakerPlan,
    DebugPlan,
    LimiterPlan,
    LogPlan,
    Secret,
    Store,
    Switches,
    dumped,
)
from collectors_dagster.config.fields import leaves
from collectors_dagster.config.layers import overrides_layer
from collectors_dagster.config.settings import Settings, load_settings, settings_files, settings_from
from collectors_dagster.config.tenants import load_tenants, tenant_files
from collectors_dagster.errors import ConfigurationError


def agent_plan(before: str = "") -> AgentPlan:
    """Read all layers and all tenants.

    Parameters
    ----------
    before : str
        ``AgentPlan.settings`` of the plan that holds until now.

    Raises
    ------
    ConfigurationError
        If the settings are bad and there are none of before.
    """
    try:
        return planned(load_settings())
    except ConfigurationError as error:
        if not before:
            raise
        problems = tuple(f"{line}; keeping the settings as they were" for line in str(error).splitlines())
    return planned(settings_from([overrides_layer(json.loads(before))]), problems)


def planned(settings: Settings, problems: tuple[str, ...] = ()) -> AgentPlan:
    """Return the plan that follows from settings, with the tenants as their files are now."""
    switches = settings.debug.of("agent")
    breaker, limiter = settings.patterns.circuit_breaker, settings.patterns.rate_limiter
    directory = load_tenants(settings)
    # Where alerts go is no business of an agent, and an address may hold a credential.
    tenants = tuple(replace(tenant, alerts=()) for tenant in directory.tenants)
    return AgentPlan(
        home=settings.home,
        agent=_options(settings),
        port=settings.ports.agent,
        agent_url=settings.agent_url,
        store=_store(settings),
        log=LogPlan(settings.log.level),
        debug=DebugPlan(Switches(switches.metrics, switches.profile, switches.memory)),
        circuit_breaker=BreakerPlan(**breaker.model_dump()),
        rate_limiter=LimiterPlan(**limiter.model_dump(exclude={"max_wait_seconds"})),
        tenants=replace(directory, tenants=tenants),
        secrets=tuple(map(Secret, settings.secret_values())),
        secret_directory=settings.secret_directory,
        watched=(*settings_files(settings), *tenant_files(settings), settings.secret_path("collectors.password")),
        problems=problems,
        values={".".join(path): zlib.crc32(repr(_at(settings, path)).encode()) for path in _paths()},
        settings=Secret(json.dumps(_document(settings.model_dump()))),
    )


def _options(settings: Settings) -> AgentOptions:
    values = {name: getattr(settings.agent, name) for name in AgentOptions.__slots__}
    keys = settings.agent.spool_keys
    return AgentOptions(**{**values, "spool_keys": Secret(keys.get_secret_value()) if keys else None})


def _store(settings: Settings) -> Store:
    try:
        return Store(Secret(settings.database_conninfo().get_secret_value()))
    except ConfigurationError as error:
        return Store(None, str(error))


def _paths() -> list[tuple[str, ...]]:
    return [path for path, _ in leaves(Settings) if "<name>" not in path] + [("debug", "components")]


def _at(settings: Settings, path: tuple[str, ...]) -> object:
    value: Any = settings
    for step in path:
        value = getattr(value, step)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _document(value: Any) -> Any:
    """Return nested values as JSON has them, secrets in clear."""
    if isinstance(value, dict):
        return {str(key): _document(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_document(each) for each in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, bool | int | float | str) else str(value)


def main() -> int:
    """Print the plan."""
    try:
        sys.stdout.write(dumped(agent_plan(sys.stdin.read())))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
