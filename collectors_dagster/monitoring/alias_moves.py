"""Which models serve otherwise than at the last look, and by whose hand. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

CHAMPION = "champion"
PREVIOUS = "previous"
KINDS = ("anomaly", "forecast")


@dataclass(frozen=True, slots=True)
class Move:
    """A champion that is another one now.

    Attributes
    ----------
    before, after : str or None
        Versions; None: none served, or none does now.
    by_person : bool
        Whether it was moved in MLflow and not by the platform, which leaves ``previous`` where the champion was.
    """

    tenant_id: str
    kind: str
    before: str | None
    after: str | None
    by_person: bool

    @property
    def name(self) -> str:
        """Of the registered model."""
        return f"{self.tenant_id}.{self.kind}"

    @property
    def text(self) -> str:
        """What happened, in a sentence.

        Examples
        --------
        >>> Move("aurora", "anomaly", "7", "5", True).text
        'aurora.anomaly: version 5 serves now, version 7 did; somebody moved the alias'
        """
        now = f"version {self.after} serves now" if self.after else "nothing serves any more"
        before = f"version {self.before} did" if self.before else "nothing did"
        hand = "somebody moved the alias" if self.by_person else "the platform promoted it"
        return f"{self.name}: {now}, {before}; {hand}"


def moves(
    seen: Mapping[str, str], aliases: Mapping[str, Mapping[str, str]], tenants: Collection[str]
) -> tuple[list[Move], dict[str, str]]:
    """Return the moves since the last look, and what to compare the next look with.

    Parameters
    ----------
    seen : mapping
        Registered model to the version that served at the last look; a model that is not in it is new, and what serves
        there first is no move.
    aliases : mapping
        Registered model to its aliases, now.
    tenants : collection of str
        Models of others are not ours to tell of.
    """
    found: list[Move] = []
    now: dict[str, str] = {}
    for tenant_id in sorted(tenants):
        for kind in KINDS:
            name = f"{tenant_id}.{kind}"
            if name not in aliases:
                continue
            now[name] = aliases[name].get(CHAMPION, "")
            before = seen.get(name)
            if before is not None and before != now[name]:
                by_person = not before or not now[name] or aliases[name].get(PREVIOUS) != before
                found.append(Move(tenant_id, kind, before or None, now[name] or None, by_person))
    return found, now
