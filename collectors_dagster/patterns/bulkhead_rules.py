"""Bulkhead as steps on shared state: permits are leases, so that a killed holder gives its own back.

A holder is ``<compartment>|<process>|<number>``. Part of the limit is guaranteed to compartments; what is guaranteed to
none may be borrowed by each.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

NO_COMPARTMENT = ""


def may_enter(in_use: Mapping[str, int], guaranteed: Mapping[str, int], limit: int, compartment: str) -> bool:
    """Say whether one more call of `compartment` may run.

    Examples
    --------
    >>> guaranteed = {"acme": 2}
    >>> may_enter({"other": 1}, guaranteed, 3, "other"), may_enter({"other": 1}, guaranteed, 3, "acme")
    (False, True)
    """
    own = in_use.get(compartment, 0)
    if own < guaranteed.get(compartment, 0):
        return True
    borrowed = sum(max(0, used - guaranteed.get(name, 0)) for name, used in in_use.items())
    return borrowed < limit - sum(guaranteed.values())


def _enter(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Take a permit: holder, lease (us), limit, then compartments and what is guaranteed to each.

    Answers 1 or 0, permits out, and processes that hold some.
    """
    holder, lease, limit = str(arguments[0]), int(arguments[1]), int(arguments[2])
    guaranteed = {str(name): int(share) for name, share in zip(arguments[3::2], arguments[4::2], strict=True)}
    leases = _living(record, now)
    in_use = Counter(each.split("|")[0] for each in leases)
    granted = holder in leases or may_enter(in_use, guaranteed, limit, holder.split("|", maxsplit=1)[0])
    if granted:
        leases[holder] = now + lease
    return [int(granted), len(leases), len({each.split("|")[1] for each in leases})], _keep_ms(leases, now)


def _renew(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Prolong permits: lease (us), holders. Answers for each 1, or 0 if its lease has ended."""
    leases = _living(record, now)
    reply: Reply = []
    for holder in map(str, arguments[1:]):
        reply.append(int(holder in leases))
        if holder in leases:
            leases[holder] = now + int(arguments[0])
    return reply, _keep_ms(leases, now)


def _leave(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Give permits back: holders. Answers how many are still out."""
    leases = _living(record, now)
    for holder in map(str, arguments):
        leases.pop(holder, None)
    return [len(leases)], _keep_ms(leases, now)


def _look(record: Record, now: int, _arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer permits out, and processes that hold some."""
    leases = _living(record, now)
    return [len(leases), len({each.split("|")[1] for each in leases})], _keep_ms(leases, now)


def _living(record: Record, now: int) -> dict[str, int]:
    leases: dict[str, int] = record.setdefault("leases", {})
    for ended in [holder for holder, end in leases.items() if end <= now]:
        del leases[ended]
    return leases


def _keep_ms(leases: Mapping[str, int], now: int) -> int:
    return -(-(max(leases.values(), default=now) - now) // 1000) + 1


ENTER = Step("bulkhead_enter", _enter, repeatable=True)
RENEW = Step("bulkhead_renew", _renew, repeatable=True)
LOOK = Step("bulkhead_look", _look, repeatable=True)
LEAVE = Step("bulkhead_leave", _leave, repeatable=True)
