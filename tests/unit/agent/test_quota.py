"""What is given up, in which order: the policy against everything that can happen to a spool."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collectors_dagster.agent.packed import Summary
from collectors_dagster.agent.quota import Drop, Holding, Quotas, Thin, less, next_action, recorder
from collectors_dagster.agent.thinning import LEVELS
from tests.support.effort import times

HOUR = 3600 * 10**9
QUOTAS = Quotas(max_bytes=2000, max_hours=50, recorder_max_bytes=1500, recorder_hours=10)
ALLOWED_AFTER = {0: 10, 10: 60}


class QuotaMachine(RuleBasedStateMachine):
    """Segments are closed, delivered and grow old in any order; after settling, every limit holds."""

    def __init__(self) -> None:
        super().__init__()
        self.holdings: list[Holding] = []
        self.now_ns = 0
        self.released = 0
        self.next_seq = 1
        self.lost_undelivered: list[Drop] = []

    @rule(size=st.integers(50, 900), records=st.integers(1, 60))
    def close_a_segment(self, size: int, records: int) -> None:
        last = self.next_seq + records - 1
        summary = Summary(self.next_seq, last, self.now_ns, self.now_ns + 60 * 10**9, records)
        self.holdings.append(Holding(self.next_seq, packed=True, summary=summary, size=size))
        self.now_ns += 60 * 10**9
        self.next_seq = last + 1

    @rule(share=st.floats(0, 1))
    def deliver(self, share: float) -> None:
        self.released = max(self.released, round(share * (self.next_seq - 1)))

    @rule(hours=st.floats(0, 30))
    def wait(self, hours: float) -> None:
        self.now_ns += round(hours * HOUR)

    @precondition(lambda self: len(self.holdings) > 1)
    @rule()
    def run_out_of_room(self) -> None:
        action = less(self.holdings[:-1], self.released, "no space left")
        assert action is not None
        self.apply(action)

    @rule()
    def settle(self) -> None:
        for _ in range(1000):
            action = next_action(self.holdings, self.released, self.now_ns, QUOTAS)
            if action is None:
                break
            self.apply(action)
        else:
            raise AssertionError("it never settles")
        kept = self.holdings[:-1]
        waiting = [one for one in kept if not one.delivered(self.released)]
        delivered = [one for one in kept if one.delivered(self.released)]
        assert sum(one.size for one in waiting) <= QUOTAS.max_bytes
        assert sum(one.size for one in delivered) <= QUOTAS.recorder_max_bytes
        assert all(one.summary.to_ns >= self.now_ns - QUOTAS.recorder_hours * HOUR for one in delivered)
        assert all(one.summary.to_ns >= self.now_ns - QUOTAS.max_hours * HOUR for one in waiting)

    def apply(self, action: Drop | Thin) -> None:
        assert action.holding is not self.holdings[-1]
        at = self.holdings.index(action.holding)
        if isinstance(action, Thin):
            assert action.holding.untouched(self.released)
            assert ALLOWED_AFTER[action.holding.summary.level_seconds] == action.level_seconds
            older = [one for one in self.holdings[:at] if one.untouched(self.released)]
            assert all(one.summary.level_seconds >= action.level_seconds for one in older)
            summary = action.holding.summary._replace(level_seconds=action.level_seconds)
            self.holdings[at] = Holding(
                action.holding.first_seq, packed=True, summary=summary, size=action.holding.size // 3
            )
            return
        self.check_drop(action, at)
        self.holdings.pop(at)

    def check_drop(self, drop: Drop, at: int) -> None:
        if drop.holding.delivered(self.released):
            assert all(not one.delivered(self.released) for one in self.holdings[:at])
            return
        assert at == 0 or all(one.delivered(self.released) for one in self.holdings[:at])
        is_old = drop.holding.summary.to_ns < self.now_ns - QUOTAS.max_hours * HOUR
        thinnable = [
            one for one in self.holdings[:-1] if one.untouched(self.released) and one.summary.level_seconds < LEVELS[-1]
        ]
        assert is_old or not thinnable

    @invariant()
    def the_recorder_is_unbroken_and_whole(self) -> None:
        whole = recorder(self.holdings)
        assert whole == self.holdings[len(self.holdings) - len(whole) :]
        assert all(one.summary.level_seconds == 0 for one in whole)


TestQuotaMachine = QuotaMachine.TestCase
TestQuotaMachine.settings = settings(max_examples=times(25), stateful_step_count=30, deadline=None)
