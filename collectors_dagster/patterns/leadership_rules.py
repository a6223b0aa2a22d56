"""Leadership as steps on shared state: leases with fencing tokens that only grow.

A token is at least the store's time in milliseconds, so that it grows also when a store has lost its counter
(M. Kleppmann, "How to do distributed locking", 2016).
"""

from collections.abc import Sequence

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

_FOR_EVER_MS = 10 * 365 * 86_400_000


def _token(record: Record, now: int) -> int:
    token: int = max(record.get("counter", 0) + 1, now // 1000)
    record["counter"] = token
    return token


def _acquire(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Lead, if nobody does: holder, lease (us). Answers the token, or 0, and how long the present lease lasts (us)."""
    holder, lease = str(arguments[0]), int(arguments[1])
    present, token, end = record.get("lease", ("", 0, 0))
    if end > now and present != holder:
        return [0, end - now], _FOR_EVER_MS
    if end <= now:
        token = _token(record, now)
    record["lease"] = holder, token, now + lease
    return [token, lease], _FOR_EVER_MS


def _renew(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Go on leading: holder, token, lease (us). Answers 1, or 0 if the lease has ended."""
    holder, token, end = record.get("lease", ("", 0, 0))
    if end <= now or (holder, token) != (str(arguments[0]), int(arguments[1])):
        return [0], _FOR_EVER_MS
    record["lease"] = holder, token, now + int(arguments[2])
    return [1], _FOR_EVER_MS


def _resign(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Lead no longer: holder, token. Answers 1, or 0 if it did not."""
    holder, token, end = record.get("lease", ("", 0, 0))
    if end <= now or (holder, token) != (str(arguments[0]), int(arguments[1])):
        return [0], _FOR_EVER_MS
    del record["lease"]
    return [1], _FOR_EVER_MS


def _look(record: Record, now: int, _arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer how long the present lease lasts (us), its token and its holder; zeros and nothing without one."""
    holder, token, end = record.get("lease", ("", 0, 0))
    return ([end - now, token, holder.encode()] if end > now else [0, 0, b""]), _FOR_EVER_MS


def _turn(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Be alive, give shares back and claim shares.

    Told: instance, after how long one is dead (us), lease of a share (us), how many shares are given
    back, those, and the shares claimed. Answers how many instances live, their names, and a token or 0 per claim.
    """
    instance, dead, lease, given = str(arguments[0]), *map(int, arguments[1:4])
    names = [str(name) for name in arguments[4:]]
    alive: dict[str, int] = record.setdefault("instances", {})
    alive[instance] = now
    for gone in [name for name, at in alive.items() if at <= now - dead]:
        del alive[gone]
    leases: dict[str, tuple[str, int, int]] = record.setdefault("shares", {})
    _give_back(leases, instance, names[:given])
    tokens = [_claim(record, instance, share, now, lease) for share in names[given:]]
    return [len(alive), *(name.encode() for name in sorted(alive)), *tokens], _FOR_EVER_MS


def _claim(record: Record, instance: str, share: str, now: int, lease: int) -> int:
    leases: dict[str, tuple[str, int, int]] = record["shares"]
    owner, token, end = leases.get(share, ("", 0, 0))
    if end > now and owner != instance:
        return 0
    if end <= now:
        token = _token(record, now)
    leases[share] = instance, token, now + lease
    return token


def _depart(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Live no longer: instance, and the shares it gives back. Answers how many instances are left."""
    instance = str(arguments[0])
    alive: dict[str, int] = record.setdefault("instances", {})
    alive.pop(instance, None)
    _give_back(record.setdefault("shares", {}), instance, [str(name) for name in arguments[1:]])
    return [len(alive)], _FOR_EVER_MS


def _look_at_shares(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer how many instances live, their names, then shares that are leased, each with its owner.

    Told: after how long an instance is dead (us).
    """
    dead = int(arguments[0])
    alive = sorted(name for name, at in record.get("instances", {}).items() if at > now - dead)
    leased = sorted((share, owner) for share, (owner, _, end) in record.get("shares", {}).items() if end > now)
    reply: Reply = [len(alive), *(name.encode() for name in alive)]
    for share, owner in leased:
        reply += [share.encode(), owner.encode()]
    return reply, _FOR_EVER_MS


def _give_back(leases: dict[str, tuple[str, int, int]], instance: str, shares: Sequence[str]) -> None:
    for share in shares:
        if leases.get(share, ("",))[0] == instance:
            del leases[share]


ACQUIRE = Step("leadership_acquire", _acquire, ("", ":token"), repeatable=True)
RENEW = Step("leadership_renew", _renew, repeatable=True)
LOOK = Step("leadership_look", _look, repeatable=True)
LOOK_AT_SHARES = Step("shares_look", _look_at_shares, (":instances", ":shares"), repeatable=True)
RESIGN = Step("leadership_resign", _resign)
TURN = Step("shares_turn", _turn, (":instances", ":shares", ":token"), repeatable=True)
DEPART = Step("shares_depart", _depart, (":instances", ":shares"), repeatable=True)
