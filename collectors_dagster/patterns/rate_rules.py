"""Rate limits as steps on shared state: four ways to count, one way to be asked.

Each rule **books places**: the caller asks for `n` of them and learns in how many microseconds each is due; waiting
until then is the caller's business. So one question serves many grants, and whoever comes later gets later places.
All instants are those of the store's clock, in whole microseconds; a client's clock is never asked.

A step is told, in this order: the asking process, places wished, units that each costs, the longest wait for the
first (us), the longest wait of the others after the first (us), and two numbers of its own. It answers: processes
seen in the last :data:`PRESENT_US`, the wait until a place may be free (us, 0 if one was booked), and the waits of the
places booked (us).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Rule, Step

PRESENT_US = 10_000_000
"""A process that has asked within this time takes part."""
LOG_MOST = 10_000
"""Units in a window up to which each is remembered; above, two counters are, which err by a few per cent."""


@dataclass(frozen=True, slots=True)
class _Wish:
    places: int
    cost: int
    wait: int
    spread: int
    first: int
    second: int


_Booking: TypeAlias = Callable[[Record, int, _Wish], tuple[int, list[int], int]]
"""From a record, the time and a wish to a wait, the waits of places booked, and when the record means nothing."""


def _rule(book: _Booking) -> Rule:
    def rule(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
        present = _present(record, now, str(arguments[0]))
        ban: int = record.get("ban", 0)
        if ban > now:
            return [present, ban - now], _keep_ms(record, now, ban)
        wait, places, end = book(record, now, _Wish(*map(int, arguments[1:])))
        record["end"] = end
        return [present, wait, *places], _keep_ms(record, now, end)

    return rule


def _present(record: Record, now: int, process: str) -> int:
    seen: dict[str, int] = record.setdefault("present", {})
    seen[process] = now
    for gone in [name for name, at in seen.items() if at <= now - PRESENT_US]:
        del seen[gone]
    return len(seen)


def _keep_ms(record: Record, now: int, end: int) -> int:
    last: int = max(end, record.get("end", 0), record.get("ban", 0), now + PRESENT_US)
    return -(-(last - now) // 1000) + 1


def _bucket(record: Record, now: int, wish: _Wish) -> tuple[int, list[int], int]:
    """Token and leaky bucket: one number, when the bucket would be empty (GCRA, ITU-T I.371).

    Its own numbers: nanoseconds per unit, and units that may come at once.
    """
    interval, burst = wish.first, wish.second
    full: int = max(record.get("tat", 0), now)
    tolerance = -(-burst * interval // 1000)
    places: list[int] = []
    tat = full
    for number in range(1, wish.places + 1):
        next_tat = full - (-number * wish.cost * interval // 1000)
        wait = max(0, next_tat - tolerance - now)
        if not _fits(places, wait, wish):
            break
        places.append(wait)
        tat = next_tat
    if not places:
        return wait, [], full
    record["tat"] = tat
    return 0, places, tat


def _fixed(record: Record, now: int, wish: _Wish) -> tuple[int, list[int], int]:
    """Count units in each stretch of the clock (fixed window). Its own numbers: limit, and window (us)."""
    limit, length = wish.first, wish.second
    window, used = record.get("fixed", (0, 0))
    if window < now // length:
        window, used = now // length, 0
    places: list[int] = []
    for _ in range(wish.places):
        later, spent = (window + 1, wish.cost) if used + wish.cost > limit else (window, used + wish.cost)
        wait = max(0, later * length - now)
        if not _fits(places, wait, wish):
            break
        places.append(wait)
        window, used = later, spent
    if not places:
        return wait, [], (window + 1) * length
    record["fixed"] = window, used
    return 0, places, (window + 1) * length


def _log(record: Record, now: int, wish: _Wish) -> tuple[int, list[int], int]:
    """Sliding window, exact: no unit earlier than a window after the one `limit` units before it.

    Its own numbers: limit (at most :data:`LOG_MOST`), and window (us).
    """
    limit, length = wish.first, wish.second
    log: deque[int] = record.setdefault("log", deque())
    places: list[int] = []
    for _ in range(wish.places):
        at = max(now, log[-1]) if log else now
        hinders = len(log) + wish.cost - limit - 1
        if hinders >= 0:
            at = max(at, log[hinders] + length)
        wait = at - now
        if not _fits(places, wait, wish):
            break
        places.append(wait)
        log.extend([at] * wish.cost)
        while len(log) > limit:
            log.popleft()
    return (0 if places else wait), places, (log[-1] if log else now) + length


def _counters(record: Record, now: int, wish: _Wish) -> tuple[int, list[int], int]:
    """Sliding window for large limits: the last fixed window counts with the share that still overlaps.

    It books no later places: whoever is refused asks again. Its own numbers: limit, and window (us).
    """
    limit, length = wish.first, wish.second
    window, used, before = record.get("counters", (0, 0, 0))
    present = now // length
    if window != present:
        window, used, before = present, 0, (used if window == present - 1 else 0)
    left = length - now % length
    room = limit - used - -(-before * left // length)
    booked = min(wish.places, max(0, room) // wish.cost)
    if booked == 0:
        return _until_room(limit - used - wish.places * wish.cost, before, left, length), [], (window + 2) * length
    record["counters"] = window, used + booked * wish.cost, before
    return 0, [0] * booked, (window + 2) * length


def _until_room(spare: int, before: int, left: int, length: int) -> int:
    """Return the wait until what is left of the last window is at most `spare`; at most until this one ends."""
    if spare < 0 or before == 0:
        return left
    return max(1, left - spare * length // before)


def _fits(places: list[int], wait: int, wish: _Wish) -> bool:
    return wait <= (places[0] + wish.spread if places else wish.wait)


def _pause(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Grant nothing for so many microseconds (an earlier, longer ban stays); answer how long the ban still lasts."""
    asked = now + int(arguments[0])
    ban = max(record.get("ban", 0), asked)
    if ban > now:
        record["ban"] = ban
    return [max(0, ban - now)], _keep_ms(record, now, now)


def _look(record: Record, now: int, _arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer processes that take part, how long a ban lasts, and how much later than now a bucket is empty (us)."""
    present = sum(at > now - PRESENT_US for at in record.get("present", {}).values())
    ban, ahead = max(0, record.get("ban", 0) - now), max(0, record.get("tat", 0) - now)
    return [present, ban, ahead], _keep_ms(record, now, now)


BUCKET = Step("rate_limiter_bucket", _rule(_bucket), (":bucket", ":ban", ":present"))
FIXED = Step("rate_limiter_fixed", _rule(_fixed), (":fixed", ":ban", ":present"))
LOG = Step("rate_limiter_log", _rule(_log), (":log", ":ban", ":present"))
COUNTERS = Step("rate_limiter_counters", _rule(_counters), (":counters", ":ban", ":present"))
LOOK = Step("rate_limiter_look", _look, (":bucket", ":ban", ":present"), repeatable=True)
PAUSE = Step("rate_limiter_pause", _pause, (":ban",), repeatable=True)
