"""Sources that are dear to read are read more rarely than the host is swept."""

from collections.abc import Callable

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.protocol import Reading
from collectors_dagster.errors import CollectionError


class Paced:
    """Looks once per `interval_seconds`, and between two looks repeats what it saw.

    The looks lie on a grid of the wall clock, as the tenants' intervals do: an interval of ten seconds holds exactly
    two looks of a source read every five, and their rates are exact. The sampler's sweeps stay away from the borders
    (``agent.schedule.first_due``), so no moment decides to which interval a look belongs.

    Parameters
    ----------
    look : callable
        Reads the source; may raise :class:`CollectionError`, which is repeated too.
    """

    def __init__(self, look: Callable[[], Reading], interval_seconds: float, clock: Clock) -> None:
        self._look = look
        self._interval = interval_seconds
        self._clock = clock
        self._place: int | None = None
        self._seen: Reading | CollectionError = Reading((), ())

    def read(self) -> Reading:
        """Return the latest reading.

        Raises
        ------
        CollectionError
            If the latest look failed.
        """
        place = int(self._clock.now().timestamp() // self._interval)
        if place != self._place:
            self._place = place
            self._seen = self._looked()
            return _answered(self._seen)
        seen = _answered(self._seen)
        return seen._replace(errors=()) if seen.errors else seen

    def _looked(self) -> Reading | CollectionError:
        try:
            return self._look()
        except CollectionError as error:
            return error


def _answered(seen: Reading | CollectionError) -> Reading:
    if isinstance(seen, CollectionError):
        raise seen
    return seen
