"""What a component is, and in which order components come and go."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Protocol, TypeVar

from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.account import Account


@dataclass(frozen=True, slots=True)
class Launch:
    """How a component's process is made.

    Attributes
    ----------
    environment : mapping
        Added to our own; may hold passwords, so it is kept out of representations.
    account : Account or None
        Whom to step down to; ``None`` keeps our own user.
    """

    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a component is asked to stop.

    Attributes
    ----------
    whole_group : bool
        Whether the signal goes to every process of the group, or to the leader alone, which sees to the rest.
    seconds : float
        How long it may take before it is killed.
    """

    signal: Signals = SIGTERM
    whole_group: bool = True
    seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Running:
    """What a probe may know of the process that it judges.

    Attributes
    ----------
    log_offset : int
        Where in the log file this process began to write.
    started_at : float
        Seconds since the epoch.
    """

    pid: int
    log_offset: int
    started_at: float


Probe = Callable[[Running], bool]


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the stack, or a step that runs once.

    Attributes
    ----------
    needs : tuple of str
        Components that must be ready before this one starts.
    prepare : callable
        Renders files and mends left-overs before each start; returns how to launch.
    answers : callable
        Whether the process does its work already; called often while it starts, seldom afterwards.
    one_shot : bool
        It is done when its process ends with 0.
    ports : mapping
        Ports it will listen on, by the name of the setting.
    listens_on : str
        Its own address for them; empty: that of the whole stack.
    address_setting : tuple of str
        The setting that decides it.
    look_at : str
        What a person finds there.
    """

    name: str
    prepare: Callable[[], Launch] = field(repr=False)
    answers: Probe = field(repr=False)
    needs: tuple[str, ...] = ()
    one_shot: bool = False
    ready_seconds: float = 90.0
    ending: Ending = field(default_factory=Ending)
    ports: Mapping[str, int] = field(default_factory=dict)
    listens_on: str = ""
    address_setting: tuple[str, ...] = ("bind_address",)
    address: str = ""
    version: str = ""
    look_at: str = ""


class Step(Protocol):
    """Whatever has a place in the order."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Names of the steps before it."""
        ...


StepT = TypeVar("StepT", bound=Step)


def in_start_order(components: Sequence[StepT]) -> list[StepT]:
    """Return `components` so that each comes after what it needs; among equals the given order holds.

    A need that is not among `components` counts as met: it was left out, or is an external server.

    Raises
    ------
    StartupError
        If components need each other in a circle.
    """
    names = {component.name: component for component in components}
    sorter = TopologicalSorter({c.name: [need for need in c.needs if need in names] for c in components})
    try:
        return [names[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise StartupError(f"components need each other in a circle: {circle}") from error


def in_stop_order(components: Sequence[StepT]) -> list[list[StepT]]:
    """Return `components` in waves: each is stopped when nothing that needs it is left, equals at the same time.

    Examples
    --------
    >>> def step(name: str, *needs: str) -> Component:
    ...     return Component(name, prepare=lambda: Launch((), Path()), answers=lambda running: True, needs=needs)
    >>> waves = in_stop_order([step("postgres"), step("redis"), step("agent", "postgres")])
    >>> [[component.name for component in wave] for wave in waves]
    [['redis', 'agent'], ['postgres']]
    """
    left = in_start_order(components)
    waves = []
    while left:
        needed = {need for component in left for need in component.needs}
        waves.append([component for component in left if component.name not in needed])
        left = [component for component in left if component.name in needed]
    return waves


def selection(components: Sequence[Component], only: Collection[str]) -> list[Component]:
    """Return the components named by `only` (all, if it is empty), in start order.

    Raises
    ------
    StartupError
        For a name that is not a component.
    """
    known = [component.name for component in components]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise StartupError(f"no component named {unknown[0]!r}; the components are {', '.join(known)}")
    return in_start_order([c for c in components if not only or c.name in only])
