"""Plans are carried out alike by blocking and by awaiting, whatever the store answers."""

import asyncio
from collections.abc import Sequence

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.plans import Pause, Plan, Run, aperform, perform
from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step


def add(record: Record, _now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    record["sum"] = record.get("sum", 0) + int(arguments[0])
    return [record["sum"]], 60_000


ADD = Step("add", add)


class Away:
    """A store that cannot be reached."""

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        raise SharedStateUnavailableError(f"{step.name} on {key}: {arguments}")

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


def added_twice(closed: list[str]) -> Plan[int]:
    try:
        yield Run(ADD, "a", [1])
        yield Pause(5.0)
        try:
            reply = yield Run(ADD, "a", [2])
        except SharedStateUnavailableError:
            return -1
        assert isinstance(reply[0], int)
        return reply[0]
    finally:
        closed.append("closed")


def carried_out(way: str, plan: Plan[int], clock: ManualClock, store: MemoryStore | Away) -> int:
    if way == "blocking":
        return perform(plan, store, clock)
    return asyncio.run(aperform(plan, store, clock))


@pytest.mark.parametrize("way", ["blocking", "awaiting"])
def test_a_plan_gets_replies_pauses_and_returns(way: str, manual_clock: ManualClock) -> None:
    closed: list[str] = []
    assert carried_out(way, added_twice(closed), manual_clock, MemoryStore(manual_clock)) == 3
    assert manual_clock.monotonic() == 5.0
    assert closed == ["closed"]


@pytest.mark.parametrize("way", ["blocking", "awaiting"])
def test_a_fault_is_raised_where_the_plan_asked(way: str, manual_clock: ManualClock) -> None:
    closed: list[str] = []
    with pytest.raises(SharedStateUnavailableError):
        carried_out(way, added_twice(closed), manual_clock, Away())  # the first step is not guarded
    assert closed == ["closed"]

    def guarded() -> Plan[int]:
        try:
            yield Run(ADD, "a", [1])
        except SharedStateUnavailableError:
            yield Pause(1.0)
            return -1
        return 0

    assert carried_out(way, guarded(), manual_clock, Away()) == -1


def test_a_cancelled_plan_is_closed_and_the_cancellation_passes(manual_clock: ManualClock) -> None:
    closed: list[str] = []

    class Endless(ManualClock):
        async def asleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.ensure_future(aperform(added_twice(closed), MemoryStore(manual_clock), Endless()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert closed == ["closed"]


def test_the_least_recently_used_object_is_forgotten_first(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock, capacity=2)
    for key in ("a", "b", "a", "c"):
        store.run(ADD, key, [1])
    assert len(store) == 2
    assert store.run(ADD, "a", [1]) == [3]
    assert store.run(ADD, "b", [1]) == [1]
