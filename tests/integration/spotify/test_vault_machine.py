"""Whatever happens in whatever order: no token is handed out that is not stored, and none is lost but with a process.

The model is a service that kills old refresh tokens. Processes may die before they ask, with the answer in hand, and
after they have stored it. Where answers are written down, none of that loses anything.
"""

import itertools
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ConsentNeededError, ServiceFailedError
from collectors_dagster.integrations.spotify.oauth.journal import TokenJournal
from collectors_dagster.integrations.spotify.oauth.renewal import Held, Renewal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.vault import AccountState, Claim, Stored, TokenOwner, Tokens
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import Tenant
from tests.support.effort import times
from tests.support.spotify_tokens import KEY, connect, open_vault, renewal
from tests.support.token_server import TokenServer, running_token_server

TENANTS = itertools.count()


class KilledError(BaseException):
    """The process ends here: nothing of ours handles it."""


class MortalVault:
    """A vault whose process may die when it stores."""

    def __init__(self, vault: SealedVault) -> None:
        self._vault = vault
        self.dies: str | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._vault, name)

    def claim(self, owner: TokenOwner, version: int, seconds: float) -> Claim | None:
        claim = self._vault.claim(owner, version, seconds)
        if self.dies == "before asking":
            raise KilledError
        return claim

    def store(self, owner: TokenOwner, claim: Claim, tokens: Tokens) -> bool:
        if self.dies == "with the answer":
            raise KilledError
        done = self._vault.store(owner, claim, tokens)
        if self.dies == "after storing":
            raise KilledError
        return done


class Tokenworld(RuleBasedStateMachine):
    """One user of one tenant, one service, any number of processes in a row."""

    store: Store
    server: TokenServer
    journal: Path | None
    """Where processes write answers down; None: they do not."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.vault = open_vault(self.store)
        tenant = Tenant(f"tenant-{next(TENANTS)}", "Tenant")
        self.store.tenants.introduce(tenant)
        self.owner = TokenOwner(tenant.id, "user")
        self.neighbour = TokenOwner(tenant.id, "neighbour")
        self.server.faults.clear()
        self.server.rotates = True
        self.lost = self.revoked = False
        self.asked_in_vain = 0
        self.kept = connect(self.vault, self.server, self.clock, self.neighbour)
        self.consent()
        self.start()

    def start(self) -> None:
        """Begin a new process: it knows nothing."""
        self.mortal = MortalVault(self.vault)
        self.process: Renewal = renewal(
            self.mortal,  # type: ignore[arg-type]  # all of it is there
            self.server.url,
            self.owner,
            clock=self.clock,
            claim_seconds=0.0,  # a killed one's claim has ended by the next step
            journal=self.journal,
        )

    def stored(self) -> Stored:
        found = self.vault.read(self.owner)
        assert found is not None
        return found

    def written_down(self) -> list[Tokens]:
        """Return answers that are on their way into the vault."""
        if self.journal is None:
            return []
        return [tokens for _, tokens in TokenJournal(self.journal, Sealer([KEY])).pending(self.owner)]

    def run(self, refused: SecretStr | None) -> Held | None:
        """Ask for a token as a process does; None if it says that consent is needed."""
        before = self.server.requests
        try:
            held = self.process.run(refused)
        except ConsentNeededError:
            assert self.lost or self.revoked or self.stored().state is AccountState.NEEDS_CONSENT
            assert self.stored().state is AccountState.NEEDS_CONSENT
            self.asked_in_vain += self.server.requests - before
            assert self.asked_in_vain <= 1  # invalid_grant is never asked about again
            return None
        assert held.token == self.stored().access_token  # stored before it is handed out
        assert held.token != refused
        assert self.server.requests - before <= 1
        return held

    @rule()
    def consent(self) -> None:
        """Let the user consent, again perhaps."""
        connect(self.vault, self.server, self.clock, self.owner)
        self.lost = self.revoked = False
        self.asked_in_vain = 0

    @rule()
    def need(self) -> None:
        """Need a token."""
        self.run(None)

    @rule()
    def be_refused(self) -> None:
        """Be refused with the newest token."""
        self.run(self.stored().access_token)

    @rule(seconds=st.sampled_from([60.0, 3550.0, 7200.0]))
    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.move(seconds)

    @rule(rotates=st.booleans())
    def change_of_mind(self, rotates: bool) -> None:  # noqa: FBT001  # drawn by name
        """Let the service rotate refresh tokens, or not."""
        self.server.rotates = rotates

    @rule()
    def revoke(self) -> None:
        """Let the user take the consent back."""
        known = [self.stored().refresh_token, *(tokens.refresh_token for tokens in self.written_down())]
        for token in known:
            if token is not None:
                self.server.living.discard(token.get_secret_value())
                self.revoked = True

    @rule(times=st.integers(1, 5))
    def service_is_ill(self, times: int) -> None:
        """Need a token while the service fails without acting."""
        self.server.faults += [lambda: (503, {}, b"")] * times
        with suppress(ServiceFailedError, ConsentNeededError):
            self.process.run(self.stored().access_token)
        self.server.faults.clear()
        self.asked_in_vain = int(self.stored().state is AccountState.NEEDS_CONSENT)

    @rule(moment=st.sampled_from(["before asking", "with the answer", "after storing"]))
    def die(self, moment: str) -> None:
        """Die in the middle of a renewal; the next process begins."""
        self.mortal.dies = moment
        before, rotates = self.stored(), self.server.rotates
        works = before.state is AccountState.CONNECTED and not (self.lost or self.revoked)
        written = self.written_down()
        try:
            self.process.run(before.access_token)
        except KilledError:
            self.lost |= moment == "with the answer" and rotates and self.journal is None
            assert works or moment == "before asking" or written
        except ConsentNeededError:
            assert not works
            self.asked_in_vain = 1
        self.start()

    @precondition(lambda self: hasattr(self, "owner"))
    @invariant()
    def what_works_is_what_was_not_lost(self) -> None:
        stored = self.stored()
        if stored.state is AccountState.CONNECTED and not (self.lost or self.revoked or self.written_down()):
            assert stored.refresh_token is not None
            assert stored.refresh_token.get_secret_value() in self.server.living
        if not (self.lost or self.revoked):
            assert stored.state is AccountState.CONNECTED

    @precondition(lambda self: hasattr(self, "owner"))
    @invariant()
    def neighbour_notices_nothing(self) -> None:
        found = self.vault.read(self.neighbour)
        assert found is not None
        assert (found.access_token, found.refresh_token) == (self.kept.access_token, self.kept.refresh_token)


@pytest.mark.parametrize("writes", [False, True], ids=["nothing written down", "answers written down"])
def test_vault_keeps_its_promises(store: Store, tmp_path: Path, writes: bool) -> None:  # noqa: FBT001  # a parameter
    with running_token_server() as server:

        class Bound(Tokenworld):
            pass

        Bound.store, Bound.server, Bound.journal = store, server, tmp_path if writes else None
        run_state_machine_as_test(
            Bound, settings=settings(max_examples=times(8), stateful_step_count=25, deadline=None)
        )
