"""Telling tenants about Spotify accounts whose users have to consent again, or soon will have to.

The vault says what nobody was told of; the ledger of alerts takes it, one alert per account and consent, and only then
the vault notes that it is told: whoever is killed in between finds the alert in the ledger already.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2s

from collectors_dagster.integrations.spotify.oauth.consent import WARN_AFTER, consent_ends
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.spotify_accounts import AccountStatus
from collectors_dagster.records import NoticeKind, RunFailure
from collectors_dagster.tenants import Tenant


def note_consent_alerts(store: Store, tenants: Sequence[Tenant], now: datetime) -> int:
    """Put alerts about accounts into the ledger; return how many are new.

    Accounts of tenants that are not configured wait until they are.
    """
    targets = {tenant.id: [target.name for target in tenant.alerts] for tenant in tenants}
    noted = 0
    for account in store.spotify_accounts.untold(now - WARN_AFTER):
        if account.tenant_id in targets:
            noted += store.failures.record(_notice(account, now), targets[account.tenant_id]) is not None
            store.spotify_accounts.told(account, now)
    return noted


def _notice(account: AccountStatus, now: datetime) -> RunFailure:
    kind = NoticeKind.CONSENT_NEEDED if account.needs_consent else NoticeKind.CONSENT_ENDS
    remedy = f"run `collectors spotify connect --tenant {account.tenant_id}` and let this user consent"
    ends = f"consent ends on {consent_ends(account.consented_at):%Y-%m-%d}"
    reason = account.reason if account.needs_consent else ends
    # The user's id is not ours to choose: as part of a message's id it would have to be fit for a header.
    user = blake2s(account.user_id.encode(), digest_size=8).hexdigest()
    return RunFailure(
        tenant_id=account.tenant_id,
        key=f"{kind.value}-{user}-{int(account.consented_at.timestamp())}",
        run_id="",
        what=f"Spotify account {account.user_id}",
        error=f"{reason}; {remedy}",
        at=now,
        kind=kind,
    )
