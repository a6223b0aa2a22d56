"""Disconnecting a user: tokens first, so that nothing more is read; then what was collected; then the account itself.

Each step can be repeated: whoever is killed in between leaves an account that is shown as `leaving`, and the same
command ends what was begun.
"""

from collections.abc import Callable

from collectors_dagster.integrations.timescale.spotify_accounts import SpotifyAccountTable, TokenOwner


def disconnect_user(accounts: SpotifyAccountTable, owner: TokenOwner, erase: Callable[[], int]) -> int:
    """Delete a user's tokens, collected data and account; return the number of rows of collected data.

    Parameters
    ----------
    erase : callable
        Deletes what was collected of this user, and says how many rows that were.
    """
    accounts.leave(owner)
    rows = erase()
    accounts.forget(owner)
    return rows
