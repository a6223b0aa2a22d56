"""GPUs, seen through the guarded process."""

from collections.abc import Sequence
from typing import Any

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.gpu.catalogue import BY_NAME, METRICS
from collectors_dagster.collectors.gpu.guard import Act, Guard, Heard, Patience
from collectors_dagster.collectors.gpu.process import Child, Message
from collectors_dagster.collectors.procfs import parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.errors import CollectionError, InvalidSampleError, SourceUnavailableError

FRESH_SECONDS = 3.0
"""An answer to a question older than this is dropped and asked for again: nobody read for a while."""
WAIT_SECONDS = 0.25
"""How long a reading then waits for the new answer; otherwise it never waits."""
FAREWELL_SECONDS = 1.0

NAN = float("nan")
NO_GPU = Reading((), ())


@parser("gpu")
def parse_series(told: Sequence[Any]) -> tuple[Series, ...]:
    """Return the series that a message names.

    Examples
    --------
    >>> [one.labels for one in parse_series([["gpu_power_watts", [["gpu", "0"]]]])]
    [(('gpu', '0'),)]
    """
    return tuple(
        Series(BY_NAME[name], tuple((str(label), str(value)) for label, value in labels)) for name, labels in told
    )


class Gpu:
    """NVIDIA GPUs by NVML. Each reading takes the answer to the question that the one before it put.

    Values are therefore as old as the time between two readings, at most `FRESH_SECONDS`. Without a driver or a GPU
    there are no series and no errors.
    """

    name = "gpu"
    metrics = METRICS
    interval_seconds = 1.0
    """Drivers measure not much more often, and answering costs them locks that programs wait for."""

    def __init__(self, host: Host) -> None:
        self._proc_root = host.proc_root
        self._clock: Clock = host.clock
        self._guard = Guard(Patience())
        self._child: Child | None = None
        self._dying: list[Child] = []
        self._asked = 0.0
        self._reading = NO_GPU
        self._nonsense: InvalidSampleError | None = None
        self._trouble: CollectionError | None = None

    def read(self) -> Reading:
        """Return the latest values; NaN while an answer is overdue.

        Raises
        ------
        CollectionError
            If NVML hung, crashed, failed or talked nonsense, until it answers again.
        """
        self._dying = [child for child in self._dying if not child.gone()]
        answered = self._turn()
        if self._trouble is not None:
            raise self._trouble.with_traceback(None)  # each raise would lengthen it
        return self._reading if answered else self._unknown()

    def close(self) -> None:
        """End the process; reading again starts another."""
        if self._child is not None:
            self._end()
        self._guard.stopped()
        self._trouble = None
        self._dying = [child for child in self._dying if not child.gone(FAREWELL_SECONDS)]

    def _turn(self) -> bool:
        """Hear, decide and act; tell whether there is an answer that is fresh."""
        stale = self._clock.monotonic() - self._asked > FRESH_SECONDS
        heard = self._hear()
        self._act(heard)
        if heard is Heard.ANSWER and stale:
            heard = self._hear(WAIT_SECONDS)
            if heard not in {Heard.SILENCE, Heard.PROGRESS}:
                self._act(heard)
        return heard is Heard.ANSWER

    def _hear(self, wait_seconds: float = 0.0) -> Heard:
        if self._child is None:
            return Heard.SILENCE
        try:
            heard = self._child.hear(wait_seconds)
            if heard is Heard.ANSWER:
                self._accept(self._child.message or {})
                self._trouble = None
        except (ValueError, TypeError, LookupError, InvalidSampleError) as error:
            self._nonsense = InvalidSampleError(f"gpu: NVML's process talks nonsense: {error}", source=self.name)
            return Heard.END
        return heard

    def _act(self, heard: Heard) -> None:
        act = self._guard.decide(heard, self._clock.monotonic(), stuck=len(self._dying))
        if act is Act.START:
            self._start()
        elif act is Act.ASK:
            self._ask()
        elif act is Act.STOP:
            self._trouble = self._explain(heard)
            self._end()

    def _start(self) -> None:
        self._nonsense = None
        try:
            self._child = Child(self._proc_root)
        except OSError as error:
            self._trouble = _unavailable(f"no process can be started to ask NVML: {error.strerror}")
        except SourceUnavailableError as error:
            self._trouble = error
        else:
            self._ask()
            return
        self._guard.decide(Heard.END, self._clock.monotonic())

    def _ask(self) -> None:
        assert self._child is not None
        self._child.ask()
        self._asked = self._clock.monotonic()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and not child.stop():
            self._dying.append(child)

    def _accept(self, message: Message) -> None:
        told = message.get("series")
        series = self._reading.series if told is None else parse_series(told)
        values = list(map(float, message["values"]))
        if len(values) != len(series):
            raise ValueError(f"{len(values)} values for {len(series)} series")
        if series == self._reading.series:
            series = self._reading.series
        lost = tuple(SourceUnavailableError(f"gpu: {why}", source=self.name) for why in message["lost"])
        self._reading = Reading(series, values, lost)

    def _explain(self, heard: Heard) -> CollectionError | None:
        """Return what is to be said until there is an answer again; nothing if there is no GPU."""
        assert self._child is not None
        if heard is Heard.ABSENCE:
            self._reading = NO_GPU
            return None
        if heard is not Heard.END:
            return _unavailable("NVML does not answer; the process that asked it was killed")
        if self._nonsense is not None:
            return self._nonsense
        if self._child.message is not None:
            return _unavailable(f"NVML failed: {self._child.message.get('failed')}")
        return _unavailable(f"the process that asks NVML died ({self._child.obituary()})")

    def _unknown(self) -> Reading:
        return Reading(self._reading.series, (NAN,) * len(self._reading.series))


def _unavailable(text: str) -> SourceUnavailableError:
    return SourceUnavailableError(f"gpu: {text}; it is asked again after a pause", source="gpu")
