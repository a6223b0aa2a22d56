"""A process that needs tokens; started by tests, told what to do as JSON on standard input.

Prints `ready`, waits for a line, then for `share`: the tokens that so many coroutines got; for `race`: how often
threads that refuse every token got another one; for `once`: the one token.
"""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.integrations.spotify.oauth.renewal import Renewal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.shared_tokens import SharedTokens
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.security.sealing import Sealer
from tests.support.spotify_tokens import KEY, renewal


def main() -> None:
    """Do what is told."""
    told = json.loads(sys.stdin.readline())
    owner = TokenOwner(told["tenant"], told["user"])
    with Store(SecretStr(told["database"]), application_name="worker", max_connections=8) as store:
        vault = SealedVault(store.spotify_accounts, Sealer([KEY]))

        def made() -> Renewal:
            journal = Path(told["journal"]) if "journal" in told else None
            return renewal(vault, told["url"], owner, claim_seconds=told.get("claim_seconds", 15.0), journal=journal)

        store.spotify_accounts.of_tenant(owner.tenant_id)  # connected, before anybody waits
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        print(json.dumps({"share": share, "race": race, "once": once}[told["do"]](made, told)))  # noqa: T201  # its answer


def share(made: Any, told: dict[str, Any]) -> list[str]:
    """Return what so many coroutines with one object got."""

    async def all_of_them() -> list[str]:
        tokens = SharedTokens(made(), account="account", clock=SystemClock())
        found = await asyncio.gather(*(tokens.token() for _ in range(told["workers"])))
        return [token.get_secret_value() for token in found]

    return asyncio.run(all_of_them())


def race(made: Any, told: dict[str, Any]) -> list[int]:
    """Let threads, each with an object of its own, refuse token after token; return how often each got another."""
    counts = [0] * told["workers"]

    def refuse_all(number: int) -> None:
        mine, last = made(), None
        for _ in range(told["rounds"]):
            got = mine.run(last).token
            counts[number] += got != last
            last = got

    threads = [threading.Thread(target=refuse_all, args=(number,)) for number in range(told["workers"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def once(made: Any, told: dict[str, Any]) -> str:
    """Return a token."""
    token: SecretStr = made().run().token
    return token.get_secret_value()


if __name__ == "__main__":
    main()
