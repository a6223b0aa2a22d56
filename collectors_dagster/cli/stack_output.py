"""What the stack's commands print."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collectors_dagster.supervisor.snapshot import StackSnapshot


@contextmanager
def progress() -> Iterator[Callable[[StackSnapshot], None]]:
    """Yield a function that shows how the start goes on."""
    seen: dict[str, str] = {}

    def watch(state: StackSnapshot) -> None:
        for each in state.components:
            if seen.get(each.name) != each.state:
                seen[each.name] = each.state
                sys.stdout.write(f"{each.name}: {each.state} {each.message}\n")
                sys.stdout.flush()

    yield watch


def print_table(state: StackSnapshot) -> None:
    """Print component, state, address, what to look at."""
    for each in state.components:
        sys.stdout.write(f"{each.name:14} {each.state:10} {each.address:26} {each.look_at}\n")
