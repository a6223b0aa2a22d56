"""A sliding window that is exact from both ends, learns its limit and obeys bans: steps on shared state.

The other side counts a request when it arrives, and nobody here knows when that is: after it was sent and before it was
answered. So a **slot** is taken before sending, counts from then on, and is dated again at the answer: it comes free a
whole window after the latest moment at which the request can have arrived. Whoever follows can never be one too many.

A limit that nobody publishes is learned. ``proven`` is the most that one window has taken so far; up to there requests
go side by side. Beyond it each **goes alone**, with nothing else under way in any process: so the first refusal (429)
meets exactly one request, no other one is sent into the pause that it announces, and what was accepted within the
window is the limit. It grows again by a twentieth after :data:`CLEAN_WINDOWS` full windows without a refusal, not
before a day has passed, and again one request at a time.

All instants are the store's, in whole microseconds. What a process knows from elsewhere (a database that remembers over
the store's end) it tells with every question, as ages and remaining times: clocks are never compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

KEEP_MS = 90 * 86_400_000
"""So long a limit that was learned is remembered after the last question."""
POLL_US = 10_000
"""Pause of whoever would go alone while another request is under way, or leaves a slot to somebody else."""
FLIGHT_US = 250_000
"""Longest pause of whoever waits for a slot whose request is still under way."""
PATIENCE_US = 250_000
"""Whoever does not come back so long after its pause was over waits no more."""
LEARN_FROM = 5
"""Requests accepted in the window below which a refusal says nothing about the limit: others may have used it up."""
CLEAN_WINDOWS = 20
REST_US = 86_400_000_000
FIRST_PAUSE_US = {1: 5_000_000, 2: 3_600_000_000, 3: 5_000_000}
"""Of a refusal that names no time, by its reason; doubled each time."""
LONGEST_PAUSE_US = {1: 900_000_000, 2: 86_400_000_000, 3: 900_000_000}
UNLIMITED = 10**9


class Reason(IntEnum):
    """Why nothing may be sent."""

    NONE = 0
    RATE = 1
    """Too many requests in the window."""
    QUOTA = 2
    """A quota of hours or days is used up: it says nothing about the window."""
    UNKNOWN = 3


class Outcome(IntEnum):
    """What became of a slot."""

    UNUSED = 0
    """Nothing was sent: it is given back."""
    ACCEPTED = 1
    UNCERTAIN = 2
    """Sent, and it may have been counted; that it was accepted is not known."""
    REJECTED = 3
    """The other side refused it because of its limit, and may name a pause."""


@dataclass(frozen=True, slots=True)
class _Take:
    process: str
    number: int
    window: int
    lease: int
    configured: int
    urgent: int
    reserve: int
    limit: int
    proven: int
    age: int
    ban: int
    reason: int


def _take(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Take one slot, or say how long to wait before asking again.

    Arguments: process, number of the slot in it, window (us), lease (us), configured limit (0: learn it), urgent (0 or
    1), reserve for urgent ones (thousandths), and what the process knows: limit, proven, age (us), ban left (us), its
    reason.
    Answer: granted (0, 1), now, wait (us), ban left (us), reason, limit learned, proven, its age (us), used, under way,
    processes seen within the window.
    """
    wish = _Take(str(arguments[0]), *map(int, arguments[1:]))
    _adopt(record, now, wish)
    log, hungry, seen = _log(record), record.setdefault("hungry", {}), record.setdefault("seen", {})
    seen[wish.process] = now
    _forget(log, now - wish.window)
    _forget(seen, now - wish.window)
    for gone in [name for name, (until, _) in hungry.items() if until <= now]:
        del hungry[gone]
    if wish.urgent:
        record["urgent_until"] = now + wish.window
    wait = _wait(record, now, wish)
    if wait == 0:
        hungry.pop(wish.process, None)
        log[f"{wish.process}.{wish.number}.{now}"] = now + wish.lease
    else:
        hungry[wish.process] = (now + wait + PATIENCE_US, wish.urgent)
    return [int(wait == 0), now, wait, *_known(record, now), len(log), _under_way(log, now), len(seen)], KEEP_MS


def _adopt(record: Record, now: int, wish: _Take) -> None:
    """Believe what a process knows, where nothing is known here: the store was emptied, and knows no slots either."""
    if not record.get("limit") and wish.limit:
        record["limit"], record["learned"] = wish.limit, now - wish.age
        record["under"], record["emptied"] = wish.configured, now
    if not record.get("proven"):
        record["proven"] = wish.proven
    if now + wish.ban > record.get("ban", 0) and wish.ban:
        record["ban"], record["reason"] = now + wish.ban, wish.reason


def _wait(record: Record, now: int, wish: _Take) -> int:
    """Return 0 if a slot is free for the asker, or the microseconds after which one may be."""
    ban: int = record.get("ban", 0)
    if ban > now:
        return ban - now
    log: dict[str, int] = record["log"]
    limit = _limit(record, wish.configured)
    proven = _proven(record, now, wish, limit)
    kept = 0
    if not wish.urgent and record.get("urgent_until", 0) > now and limit < UNLIMITED:
        kept = min(limit - 1, -(-limit * wish.reserve // 1000))
    claims = _claims(record, wish, limit)
    room = limit - kept - claims - len(log)
    if room <= 0:
        return _until_free(sorted(log.values()), now, wish.window, 1 - room, claims)
    if len(log) >= proven and _under_way(log, now):
        return POLL_US
    return 0


def _limit(record: Record, configured: int) -> int:
    """Return the limit that holds: what was learned under another configured one says nothing."""
    learned: int = record.get("limit", 0)
    if configured:
        return min(configured, learned) if learned and record.get("under", 0) == configured else configured
    return learned or UNLIMITED


def _proven(record: Record, now: int, wish: _Take, limit: int) -> int:
    """Return up to how many slots requests go side by side.

    None in the window after the store was emptied, and none before one was accepted that is not older than a window and
    came after the last refusal: if the account is banned, one request learns it.
    """
    if record.get("limit") and now < record.get("emptied", -wish.window) + wish.window:
        return 0
    good: int = record.get("good", -1)
    if good < record.get("bad", 0) or good <= now - wish.window:
        return 0
    return limit if wish.configured else min(limit, record.get("proven", 0))


def _claims(record: Record, wish: _Take, limit: int) -> int:
    """Return how many free slots are somebody else's: urgent ones go first, and nobody takes more than a fair share."""
    others = {name: urgent for name, (_, urgent) in record["hungry"].items() if name != wish.process}
    if not others:
        return 0
    held = dict.fromkeys((*others, wish.process), 0)
    for name in record["log"]:
        holder = name.lstrip("!").split(".", 1)[0]
        if holder in held:
            held[holder] += 1
    fair = limit // (len(others) + 1)
    mine = held[wish.process]
    return sum(
        1
        for name, urgent in others.items()
        if urgent > wish.urgent or (urgent == wish.urgent and mine >= fair and held[name] < fair)
    )


def _until_free(dates: list[int], now: int, window: int, needed: int, claims: int) -> int:
    """Return when so many more slots will have come free, as far as is known; never 0."""
    if needed > len(dates):
        return POLL_US
    date = dates[needed - 1]
    wait = max(1, date + window - now) if date <= now else min(window, FLIGHT_US)
    return min(wait, POLL_US) if claims and needed <= claims else wait


def _settle(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Say what became of a slot.

    Arguments: the slot's name (process.number.sent), outcome, window (us), configured limit; of a rejected one also the
    pause that was named (us, 0: none) and the reason.
    Answer: ban left (us), reason, limit learned, proven, its age (us), and whether it was learned just now.
    """
    name, outcome = str(arguments[0]), int(arguments[1])
    window, configured, pause, reason = map(int, arguments[2:6])
    log = _log(record)
    _forget(log, now - window)
    log.pop(name, None)
    learned = 0
    if outcome == Outcome.ACCEPTED:
        log[name] = now
        _went_well(record, now, window, configured)
    elif outcome == Outcome.UNCERTAIN:
        log["!" + name] = now
    elif outcome == Outcome.REJECTED:
        log["!" + name] = record["bad"] = now
        if reason == Reason.RATE and _sent(name) > record.get("event", -1):
            learned = _learn(record, now, window, configured)
            record["event"] = now
        _ban(record, now, pause, reason)
    return [*_known(record, now), learned], KEEP_MS


def _went_well(record: Record, now: int, window: int, configured: int) -> None:
    """Note how much one window has taken, and let a limit grow that has proved too careful."""
    record["good"] = now
    if record.get("ban", 0) <= now:
        record["strikes"] = 0
    limit = _limit(record, configured)
    if not configured and record.get("proven", 0) < limit:
        record["proven"] = max(record.get("proven", 0), min(limit, _accepted(record["log"], now, window)))
    if not record.get("limit") or len(record["log"]) < limit or now < record.get("full", 0) + window:
        return
    record["full"], record["clean"] = now, record.get("clean", 0) + 1
    if record["clean"] >= CLEAN_WINDOWS and now >= record.get("learned", 0) + REST_US:
        record["limit"] += -(-record["limit"] // 20)
        record["learned"], record["clean"] = now, 0


def _learn(record: Record, now: int, window: int, configured: int) -> int:
    """Take for the limit what was accepted in the window, but fall by a fifth at most; say whether that was done."""
    accepted = _accepted(record["log"], now, window)
    before = _limit(record, configured)
    known = before if before < UNLIMITED else record.get("proven", 0)
    found = max(min(accepted, before - 1), -(-known * 4 // 5))
    if accepted < LEARN_FROM or now < record.get("emptied", -window) + window:
        return 0
    record["limit"] = record["proven"] = found
    record["learned"], record["under"], record["clean"] = now, configured, 0
    return 1


def _ban(record: Record, now: int, pause: int, reason: int) -> None:
    """Send nothing for so long; an earlier, longer ban stays. Without a time it is guessed, doubling."""
    if pause == 0 and record.get("ban", 0) <= now:
        strikes = record["strikes"] = record.get("strikes", 0) + 1
        pause = min(LONGEST_PAUSE_US[reason], FIRST_PAUSE_US[reason] * 2 ** min(strikes - 1, 20))
    if now + pause > record.get("ban", 0):
        record["ban"], record["reason"] = now + pause, reason


def _look(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer as a settled slot does, and then: used, under way. Argument: window (us)."""
    log = _log(record)
    _forget(log, now - int(arguments[0]))
    return [*_known(record, now), len(log), _under_way(log, now)], KEEP_MS


def _known(record: Record, now: int) -> list[int]:
    ban = max(0, record.get("ban", 0) - now)
    age = max(0, now - record["learned"]) if record.get("limit") else 0
    return [ban, record.get("reason", 0) if ban else 0, record.get("limit", 0), record.get("proven", 0), age]


def _log(record: Record) -> dict[str, int]:
    log: dict[str, int] = record.setdefault("log", {})
    return log


def _forget(dated: dict[str, int], until: int) -> None:
    for gone in [name for name, date in dated.items() if date <= until]:
        del dated[gone]


def _under_way(log: dict[str, int], now: int) -> int:
    return sum(date > now for date in log.values())


def _accepted(log: dict[str, int], now: int, window: int) -> int:
    """Return the slots that were certainly accepted within one window that ends now."""
    return sum(date <= now and not name.startswith("!") and _sent(name) > now - window for name, date in log.items())


def _sent(name: str) -> int:
    return int(name.rsplit(".", 1)[1])


_PARTS = (":slots", ":state", ":hungry", ":seen")

TAKE = Step("window_take", _take, _PARTS)
SETTLE = Step("window_settle", _settle, _PARTS[:2], repeatable=True)
LOOK = Step("window_look", _look, _PARTS[:2], repeatable=True)
