"""Retry budget: repetitions may add only a share to the load, so that they never become the outage themselves."""

import threading
from collections import deque


class RetryBudget:
    """Says whether one more repetition is allowed; one for all calls to a service, safe to share between threads.

    Over the last ten seconds, repetitions are at most a share of the calls plus a reserve, without which a service
    that is called rarely would never be called twice. After Finagle's ``RetryBudget``
    (twitter.github.io/finagle, "Finagle 101", 2016: 20 %, 10 per second, 10 seconds).

    Examples
    --------
    >>> budget = RetryBudget(share=0.2, reserve_per_second=0.1)
    >>> for _ in range(10):
    ...     budget.called(now=0.0)
    >>> [budget.allows(now=1.0) for _ in range(4)]
    [True, True, True, False]
    """

    MEMORY_SECONDS = 10

    def __init__(self, *, share: float = 0.2, reserve_per_second: float = 10.0) -> None:
        if not 0 <= share <= 1 or not reserve_per_second >= 0 or share + reserve_per_second == 0:
            raise ValueError(
                f"a retry budget needs a share from 0 to 1 and a reserve_per_second of 0 or more, not both 0: "
                f"share {share}, reserve_per_second {reserve_per_second}"
            )
        self._share = share
        self._reserve = reserve_per_second * self.MEMORY_SECONDS
        self._lock = threading.Lock()
        self._seconds: deque[list[int]] = deque(maxlen=self.MEMORY_SECONDS)
        self._present = [-1, 0, 0]

    def called(self, now: float) -> None:
        """Take note of a first attempt at monotonic time `now`; cheap: one lost between two threads does no harm."""
        present = self._present
        if present[0] != int(now):
            present = self._second(now)
        present[1] += 1

    def allows(self, now: float) -> bool:
        """Say whether to repeat a call now, and take note that it is done."""
        present = self._second(now)
        with self._lock:
            oldest = int(now) - self.MEMORY_SECONDS
            recent = [each for each in self._seconds if each[0] > oldest]
            allowed = self._reserve + self._share * sum(each[1] for each in recent)
            if sum(each[2] for each in recent) + 1 > allowed + 1e-9:
                return False
            present[2] += 1
            return True

    def _second(self, now: float) -> list[int]:
        with self._lock:
            if self._present[0] != int(now):
                self._present = [int(now), 0, 0]
                self._seconds.append(self._present)
            return self._present
