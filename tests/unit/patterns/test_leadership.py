"""Leaders and shares, by a clock moved by hand."""

from collections.abc import Sequence

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.leadership import Leadership, Shares, owner_of
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Reply, Step

TENANTS = [f"tenant-{number}" for number in range(60)]


class Switchable:
    """A store that can be away."""

    def __init__(self, clock: ManualClock) -> None:
        self.inner = MemoryStore(clock)
        self.away = False

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        if self.away:
            raise SharedStateUnavailableError(key)
        return self.inner.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


def test_a_leader_leads_as_long_as_it_renews(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    one, other = (Leadership("role", name, store=store, clock=manual_clock, lease_seconds=9.0) for name in "ab")
    token = one.turn()
    assert token is not None
    for _ in range(10):
        manual_clock.move(3.0)
        assert one.turn() == token
        assert other.turn() is None
    one.resign()
    assert one.token is None
    assert (other.turn() or 0) > token


def test_a_leader_without_the_store_gives_up_before_another_can_lead(manual_clock: ManualClock) -> None:
    store = Switchable(manual_clock)
    one, other = (Leadership("role", name, store=store, clock=manual_clock, lease_seconds=10.0) for name in "ab")
    token = one.turn()
    store.away = True
    manual_clock.move(8.9)
    assert one.turn() == token
    manual_clock.move(0.2)
    assert one.token is None
    store.away = False
    assert other.turn() is None  # still the old one's, by the store
    manual_clock.move(1.0)
    assert other.turn() is not None
    assert one.turn() is None


def test_a_machine_that_slept_does_not_lead_when_it_wakes(manual_clock: ManualClock) -> None:
    one = Leadership("role", "a", store=MemoryStore(manual_clock), clock=manual_clock, lease_seconds=10.0)
    assert one.turn() is not None
    manual_clock.suspend(60.0)
    assert one.token is None


def test_shares_follow_those_who_join_leave_and_die(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    a, b, c = (Shares("scorer", name, store=store, clock=manual_clock) for name in "abc")

    def settle(*living: Shares) -> list[set[str]]:
        for _ in range(5):
            manual_clock.move(2.0)
            for each in living:
                each.turn(TENANTS)
        return [set(each.tokens) for each in living]

    assert settle(a) == [set(TENANTS)]
    together = settle(a, b, c)
    assert set().union(*together) == set(TENANTS)
    assert sum(map(len, together)) == len(TENANTS)
    assert min(map(len, together)) >= 10
    b.depart()
    manual_clock.move(0.1)
    for each in (a, c, a):
        each.turn(TENANTS)
    assert set(a.tokens) | set(c.tokens) == set(TENANTS)  # at once
    assert together[0] <= set(a.tokens)  # nothing moved that did not have to
    tokens = dict(c.tokens)
    for _ in range(4):  # c is killed: nobody hears of it again
        manual_clock.move(2.0)
        a.turn(TENANTS)
    assert set(a.tokens) == set(TENANTS)
    assert c.tokens == {}
    assert all(a.tokens[share] > token for share, token in tokens.items())


def test_no_share_has_two_owners_at_any_moment(manual_clock: ManualClock) -> None:
    store = Switchable(manual_clock)
    instances = [Shares("scorer", name, store=store, clock=manual_clock) for name in "abcd"]
    for step in range(300):
        manual_clock.move(0.37)
        store.away = step % 50 >= 40
        instances[step * 7 % 4 if step % 90 < 60 else step % 2].turn(TENANTS)
        owned = [share for each in instances for share in each.tokens]
        assert len(owned) == len(set(owned))


def test_only_the_shares_of_who_left_move() -> None:
    before = {tenant: owner_of(tenant, "abcd") for tenant in TENANTS}
    after = {tenant: owner_of(tenant, "abd") for tenant in TENANTS}
    assert all(after[tenant] == owner for tenant, owner in before.items() if owner != "c")


@pytest.mark.parametrize(("heartbeat", "dead"), [(2.0, 3.0), (0.0, 6.0), (-1.0, 6.0)])
def test_times_that_cannot_work_are_refused(heartbeat: float, dead: float, manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    with pytest.raises(ValueError, match="heartbeat_seconds"):
        Shares("g", "a", store=store, clock=manual_clock, heartbeat_seconds=heartbeat, dead_seconds=dead)
    with pytest.raises(ValueError, match="lease_seconds"):
        Leadership("r", "a", store=store, clock=manual_clock, lease_seconds=heartbeat - 2.0)
