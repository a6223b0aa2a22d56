"""Which tenants this scorer scores: divided by Redis, held in the database.

Shared state says who *should* score a tenant, so that work is divided evenly and moves when an instance comes, goes
or dies. The database says who *may*: a claim on the tenant's name, which ends with the process. So no tenant is ever
scored twice, whatever Redis says or forgets; and while Redis is away every scorer keeps what it has and takes what
is free.
"""

from collections.abc import Iterable

from collectors_dagster.clock import Clock
from collectors_dagster.integrations.timescale.claims import Claims
from collectors_dagster.patterns.leadership import Shares

GROUP = "scorer"
"""Name of the shares in shared state, and of the duty that only one scorer has."""


class Division:
    """The part of the tenants that is this scorer's.

    Attributes
    ----------
    leads : bool
        Whether what only one scorer does was this one's duty at the last :meth:`take`.
    """

    def __init__(self, shares: Shares, claims: Claims, clock: Clock) -> None:
        self._shares = shares
        self._claims = claims
        self._clock = clock
        self.leads = False
        self._tenants: frozenset[str] = frozenset()
        self._heard = float("-inf")

    @property
    def heartbeat_seconds(self) -> float:
        """How often :meth:`heartbeat` has to be called."""
        return self._shares.heartbeat_seconds

    @property
    def instances(self) -> int:
        """How many scorers live, as far as is known."""
        return max(1, len(self._shares.instances)) if self._shares.is_heard else 1

    def take(self, tenants: Iterable[str]) -> frozenset[str]:
        """Return which of all scored `tenants` are this scorer's for the next round.

        Raises
        ------
        CollectorsError
            If the database does not answer; then none is.
        """
        self._tenants = frozenset(tenants)
        self._turn()
        wanted = self._shares.tokens.keys() if self._shares.is_heard else self._tenants
        held = self._claims.hold({GROUP, *(_claim(tenant_id) for tenant_id in wanted)})
        self.leads = GROUP in held
        return frozenset(tenant_id for tenant_id in wanted if _claim(tenant_id) in held)

    def heartbeat(self) -> None:
        """Say that this scorer lives, if that is due; call it between two tenants, and while there is nothing to do."""
        if self._clock.monotonic() - self._heard >= self._shares.heartbeat_seconds:
            self._turn()

    def lose(self) -> None:
        """Hold nothing any more: the database did not answer, and others may have taken over."""
        self._claims.release()

    def depart(self) -> None:
        """Let the others have everything at once."""
        self._claims.release()
        self._shares.depart()

    def _turn(self) -> None:
        self._heard = self._clock.monotonic()
        self._shares.turn(self._tenants)


def _claim(tenant_id: str) -> str:
    return f"{GROUP}/{tenant_id}"
