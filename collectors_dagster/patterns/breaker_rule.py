"""The circuit breaker's one atomic step: what becomes of a circuit when somebody asks, reports or orders.

The same stands in ``integrations/redis/scripts/circuit_breaker.lua``, and one suite of tests runs over both.

Four habits that many breakers lack: the half-open circuit lets through only a fixed number of probes however many
callers ask, in however many processes; a probe that never reports gives its place back when its lease ends; a result
that was admitted before the circuit changed is too late to change it again; the window is the fleet's, so that many
short processes trip it together.

Every reply is ``[admitted, phase, generation, wait in milliseconds]``; that of ``inspect`` says more.
"""

from collections.abc import Callable, Sequence

from collectors_dagster.patterns.breaker_policy import Terms
from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY = range(6)

KEEP_MS = 86_400_000
"""A circuit that nobody asks about for a day is forgotten, its history with it."""
KEEP_FORCED_MS = 366 * KEEP_MS
"""What was set by hand stays set."""
HISTORY = 20
"""Transitions remembered."""
STEPS = 10
"""A window of time moves on in so many steps."""

Operation = Callable[[Record, int, Terms, Sequence[Argument]], int]


def circuit_breaker(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Run one operation: its name, the policy's terms, then what it needs itself."""
    terms = Terms(*map(int, arguments[1:11]))
    name = str(arguments[0])
    admitted = OPERATIONS[name](record, now, terms, arguments[11:])
    phase = record.get("phase", CLOSED)
    reply: Reply = [admitted, phase, record.get("generation", 0), _wait_ms(record, now, phase)]
    if name == "inspect":
        reply += _inspected(record, now, terms)
    forced = phase >= FORCED_OPEN
    return reply, KEEP_FORCED_MS if forced else max(KEEP_MS, 4 * max(terms.recovery_us, terms.window_us) // 1000)


def _peek(_record: Record, _now: int, _terms: Terms, _arguments: Sequence[Argument]) -> int:
    return 0


def _acquire(record: Record, now: int, terms: Terms, arguments: Sequence[Argument]) -> int:
    """Ask for leave to call; the argument names the caller in case that it becomes a probe: 2 for one, 1 for a call."""
    phase = record.get("phase", CLOSED)
    if phase == OPEN and now >= record["until"]:
        _enter(record, now, HALF_OPEN, "recovery")
        phase = HALF_OPEN
    if phase != HALF_OPEN:
        return int(phase not in (OPEN, FORCED_OPEN))
    probes = {probe: end for probe, end in record.get("probes", {}).items() if end > now}
    record["probes"] = probes
    if len(probes) + record.get("succeeded", 0) >= terms.probes:
        return 0
    probes[str(arguments[0])] = now + terms.lease_us
    return 2


def _probed(record: Record, now: int, terms: Terms, arguments: Sequence[Argument]) -> int:
    """Report a probe: name, generation, and 1 for success, 0 for failure, -1 for nothing."""
    probe, generation, verdict = str(arguments[0]), int(arguments[1]), int(arguments[2])
    probes = record.get("probes", {})
    if record.get("phase", CLOSED) != HALF_OPEN or generation != record["generation"] or probe not in probes:
        return 0  # its lease ended long ago: another probe decides
    if probes.pop(probe) <= now:
        return 0
    if verdict == 0:
        _open(record, now, terms, "probe failed")
    elif verdict > 0:
        record["succeeded"] = record.get("succeeded", 0) + 1
        if record["succeeded"] >= terms.successes:
            _enter(record, now, CLOSED, "probes succeeded")
    return 1


def _record(record: Record, now: int, terms: Terms, arguments: Sequence[Argument]) -> int:
    """Report calls: their generation, then how many were good, slow, failed, failed and slow."""
    generation, good, slow, failed, both = map(int, arguments[:5])
    phase = record.get("phase", CLOSED)
    if phase not in (CLOSED, METRICS_ONLY) or generation != record.get("generation", 0):
        return 0
    if terms.window_us:
        _count_by_time(record, now, terms, (good + slow + failed + both, failed + both, slow + both))
    else:
        told = "." * good + "s" * slow + "f" * failed + "x" * both
        record["calls"] = (record.get("calls", "") + told)[-terms.window_calls :]
    reason = _verdict(terms, *_totals(record, now, terms))
    if phase == CLOSED and reason:
        _open(record, now, terms, reason)
    return 1


def _force(record: Record, now: int, _terms: Terms, arguments: Sequence[Argument]) -> int:
    """Set the phase by hand, for a reason of one line; CLOSED gives the circuit back to itself, healthy."""
    _enter(record, now, int(arguments[0]), str(arguments[1]) if len(arguments) > 1 else "by hand")
    return 1


OPERATIONS: dict[str, Operation] = {
    "peek": _peek,
    "acquire": _acquire,
    "probed": _probed,
    "record": _record,
    "force": _force,
    "inspect": _peek,
}

STEP = Step("circuit_breaker", circuit_breaker)
LOOK = Step("circuit_breaker", circuit_breaker, repeatable=True)
"""For the operations that change nothing: ``peek`` and ``inspect``."""


def _verdict(terms: Terms, calls: int, failures: int, slow: int) -> str:
    """Return why the circuit must open; empty if it need not."""
    if terms.failure_threshold and failures >= terms.failure_threshold:
        return "failures"
    if calls < terms.minimum_calls:
        return ""
    if terms.failure_permille and failures * 1000 >= terms.failure_permille * calls:
        return "failure ratio"
    if terms.slow_permille and slow * 1000 >= terms.slow_permille * calls:
        return "slow ratio"
    return ""


def _count_by_time(record: Record, now: int, terms: Terms, counts: tuple[int, int, int]) -> None:
    number, buckets = _within(record, now, terms)
    if buckets and buckets[-1][0] == number:
        counts = tuple(map(sum, zip(buckets.pop()[1:], counts, strict=True)))  # type: ignore[assignment]  # three
    record["buckets"] = [*buckets, (number, *counts)]


def _within(record: Record, now: int, terms: Terms) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Return the number of the window's newest step, and those steps in it of which something is known."""
    number = now // (terms.window_us // STEPS)
    return number, [bucket for bucket in record.get("buckets", []) if number - STEPS < bucket[0] <= number]


def _totals(record: Record, now: int, terms: Terms) -> tuple[int, int, int]:
    """Return calls, failures and slow calls in the window."""
    if terms.window_us:
        _, within = _within(record, now, terms)
        return sum(one[1] for one in within), sum(one[2] for one in within), sum(one[3] for one in within)
    told: str = record.get("calls", "")
    both = told.count("x")
    return len(told), told.count("f") + both, told.count("s") + both


def _open(record: Record, now: int, terms: Terms, reason: str) -> None:
    _enter(record, now, OPEN, reason)
    record["until"] = now + terms.recovery_us


def _enter(record: Record, now: int, phase: int, reason: str) -> None:
    """Change the phase: a new generation, which knows nothing of the old one's calls and probes."""
    line = f"{now} {record.get('phase', CLOSED)} {phase} {reason}"
    history = [*record.get("history", []), line][-HISTORY:]
    generation = record.get("generation", 0) + 1
    record.clear()
    record.update(phase=phase, generation=generation, history=history)


def _wait_ms(record: Record, now: int, phase: int) -> int:
    """Return how long a refused caller should wait at least, rounded up."""
    if phase == OPEN:
        until: int = record["until"]
        return max(0, -((now - until) // 1000))
    probes: dict[str, int] = record.get("probes", {})
    if phase == HALF_OPEN and probes:
        return max(0, -((now - min(probes.values())) // 1000))
    return 0


def _inspected(record: Record, now: int, terms: Terms) -> Reply:
    calls, failures, slow = _totals(record, now, terms)
    on_their_way = sum(end > now for end in record.get("probes", {}).values())
    history = "\n".join(record.get("history", ())).encode()
    return [calls, failures, slow, on_their_way, record.get("succeeded", 0), now, history]
