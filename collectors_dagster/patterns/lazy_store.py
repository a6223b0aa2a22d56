"""Shared state that is not reached for before there is a reason.

A process that ticks for weeks and calls what is healthy, Dagster's code server say, need not load a driver to be told
so: its policies decide alone. With the first failure, or when something else has loaded the driver anyway, it shares
state like all others, for as long as it lives.
"""

from collections.abc import Callable, Sequence

from collectors_dagster.errors import CollectorsError, SharedStateUnavailableError
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step

_log = get_logger(__name__)


class LazyStore:
    """A :class:`~collectors_dagster.patterns.shared_state.SharedStore` that is opened late.

    Parameters
    ----------
    open_store : callable
        Returns the store; what it raises is logged once, and everybody decides alone.
    loaded : callable
        Says whether opening it costs nothing any more.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> store = LazyStore(lambda: MemoryStore(ManualClock()), loaded=lambda: False)
    >>> store.awake
    False
    >>> store.wake()
    >>> store.run(Step("hello", lambda record, now, arguments: ([1], 0)), "key")
    [1]
    """

    def __init__(self, open_store: Callable[[], SharedStore], *, loaded: Callable[[], bool]) -> None:
        self._open = open_store
        self._loaded = loaded
        self._wanted = False
        self._store: SharedStore | None = None
        self._broken = False

    @property
    def awake(self) -> bool:
        """Whether state is shared from now on."""
        return self._wanted or self._store is not None or self._loaded()

    def wake(self) -> None:
        """Share state from now on."""
        self._wanted = True

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, blocking.

        Raises
        ------
        SharedStateUnavailableError
            Also while there is no reason yet to share state.
        """
        return (self._store or self._opened()).run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, awaiting; raises like :meth:`run`."""
        return await (self._store or self._opened()).arun(step, key, arguments)

    def _opened(self) -> SharedStore:
        if not self.awake:
            raise SharedStateUnavailableError("shared state is not needed yet", kind="not needed")
        if self._broken:
            raise SharedStateUnavailableError("shared state cannot be opened: see the log", kind="settings")
        try:
            self._store = self._open()
        except CollectorsError as error:
            self._broken = True
            _log.warning("shared_state_unusable", reason=str(error), deciding="alone")
            raise SharedStateUnavailableError("shared state cannot be opened: see the log", kind="settings") from error
        return self._store
