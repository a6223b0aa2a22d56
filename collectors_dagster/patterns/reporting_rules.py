"""What all processes have counted, and which circuits, limits, bulkheads, leaders and shares there are: two steps.

An object holds sums (by series) and a directory (by the key of what is listed). Both are bounded: a series that finds
no room is added to another one, which its owner names; of the directory those give way that nobody has used for a day.
The same stands in ``integrations/redis/scripts/resilience_*.lua``.
"""

from collections.abc import Sequence

from collectors_dagster.patterns.shared_state import Argument, Record, Reply, Step

MOST_SUMS = 500
MOST_LISTED = 1000
LISTED_US = 86_400_000_000
"""Unused for so long, an entry gives way when there is no room."""
KEEP_MS = 8 * 86_400_000
"""What nobody adds to for so long is forgotten."""


def _tell(record: Record, now: int, arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Add to sums, and list: how many sums; each series, its fallback and the amount; each key and what it is."""
    count = int(arguments[0])
    sums: dict[str, float] = record.setdefault("sums", {})
    for at in range(1, 1 + 3 * count, 3):
        series, fallback, amount = str(arguments[at]), str(arguments[at + 1]), float(arguments[at + 2])
        chosen = series if series in sums or len(sums) < MOST_SUMS else fallback
        sums[chosen] = sums.get(chosen, 0.0) + amount
    listed: dict[str, str] = record.setdefault("listed", {})
    rest = [str(each) for each in arguments[1 + 3 * count :]]
    for key, what in zip(rest[::2], rest[1::2], strict=True):
        if key not in listed and len(listed) >= MOST_LISTED:
            for old in [each for each, text in listed.items() if int(text.partition("|")[0]) <= now - LISTED_US]:
                del listed[old]
        if key in listed or len(listed) < MOST_LISTED:
            listed[key] = f"{now}|{what}"
    return [len(sums), len(listed)], KEEP_MS


def _read(record: Record, now: int, _arguments: Sequence[Argument]) -> tuple[Reply, int]:
    """Answer the time, how many sums, each series and its sum; then each listed key, and when used and what it is."""
    sums: dict[str, float] = record.get("sums", {})
    reply: Reply = [now, len(sums)]
    for series, amount in sums.items():
        reply += [series.encode(), f"{amount:.17g}".encode()]
    for key, text in record.get("listed", {}).items():
        reply += [key.encode(), text.encode()]
    return reply, KEEP_MS


PARTS = (":sums", ":listed")
TELL = Step("resilience_tell", _tell, parts=PARTS)
READ = Step("resilience_read", _read, parts=PARTS, repeatable=True)
