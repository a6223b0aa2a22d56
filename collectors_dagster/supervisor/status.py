"""The whole picture for `collectors status`: what the supervisor wrote, compared with what is alive."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.supervisor.home import Home
from collectors_dagster.supervisor.lifecycle import State
from collectors_dagster.supervisor.snapshot import ComponentSnapshot, StackSnapshot
from collectors_dagster.supervisor.stack import Stack


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a person or a program may ask about the local stack.

    Attributes
    ----------
    details : mapping
        What running components tell about themselves, by name.
    links : mapping
        Addresses of systems that are not ours.
    problems : sequence of str
        What is wrong with the configuration as it is on disk.
    """

    home: str
    running: bool
    ready: bool
    components: Sequence[ComponentSnapshot]
    details: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def is_well(self) -> bool:
        """Whether no component has failed, fallen silent or lost its supervisor; a stack at rest is well."""
        return not any(each.state.is_unwell for each in self.components)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = asdict(self)
        del plain["details"]
        return plain | {"components": [self._component(each) for each in self.components]}

    def _component(self, each: ComponentSnapshot) -> dict[str, Any]:
        plain = each.as_json()
        del plain["ending"], plain["process"], plain["needs"]
        pid = each.process.pid if each.process else None
        return plain | {"pid": pid, "detail": self.details.get(each.name)}


def report(settings: Settings, clock: Clock, problems: Sequence[str] = ()) -> Report:
    """Return the state of every component, whether it runs or not.

    Parameters
    ----------
    problems : sequence of str
        What is wrong with the settings themselves: `settings` are what is left of them.
    """
    home = Home(settings.home)
    state = StackSnapshot.read(home.state)
    alive = state is not None and state.is_running
    told = {each.name: _judged(each, alive=alive) for each in state.components} if state else {}
    known = [*_externals(settings, clock), *_known(settings, clock)]
    unknown = [each for name, each in told.items() if name not in {other.name for other in known}]
    recorded = [told.get(each.name, each) for each in known]
    components = [_supervisor(home, state, alive=alive), *recorded, *unknown]
    return Report(
        home=str(settings.home),
        running=alive,
        ready=alive and all(each.state.is_settled for each in told.values()),
        components=components,
        details=_details(home),
        links=settings.external_links(),
        problems=(*problems, *load_tenants(settings).problems),
    )


def _judged(told: ComponentSnapshot, *, alive: bool) -> ComponentSnapshot:
    """Correct what a supervisor wrote that is not there any more."""
    if alive or told.state is State.FAILED:
        return told
    if told.process and told.process.is_alive:
        return replace(told, state=State.UNSUPERVISED, message="its supervisor is gone: collectors up, or down")
    return replace(told, state=State.STOPPED, process=None)


def _supervisor(home: Home, state: StackSnapshot | None, *, alive: bool) -> ComponentSnapshot:
    return ComponentSnapshot(
        name="supervisor",
        state=State.READY if alive else State.STOPPED,
        since=state.since if state and alive else "",
        process=state.supervisor if state and alive else None,
        version=state.version if state and alive else "",
        look_at="collectors status",
        message=state.reason if state else "",
        log=str(home.log_of("supervisor")),
    )


def _known(settings: Settings, clock: Clock) -> list[ComponentSnapshot]:
    """Return the components of a stack at rest."""
    stack = Stack(settings, clock)
    return [
        ComponentSnapshot(each.name, State.STOPPED, since="", address=each.address, look_at=each.look_at)
        for each in stack.components()
    ]


def _externals(settings: Settings, clock: Clock) -> list[ComponentSnapshot]:
    servers = Stack(settings, clock).externals()
    return [ComponentSnapshot(name, State.EXTERNAL, since="", address=address) for name, address in servers.items()]


def _details(home: Home) -> dict[str, Any]:
    """Return what resident components wrote about themselves."""
    found = {name: home.run / f"{name}.json" for name in ("agent", "scorer")}
    return {name: json.loads(path.read_text()) for name, path in found.items() if path.exists()}
