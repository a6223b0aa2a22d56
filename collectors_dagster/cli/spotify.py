"""`collectors spotify`: users' accounts at Spotify, and what is pulled of them.

Exit codes: 0 done, 1 refused or failed (one line with the remedy), 2 the command line itself is wrong, 75 put off by
Spotify.
"""

import typer

from collectors_dagster.cli import spotify_accounts, spotify_pull, spotify_status

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("connect")(spotify_accounts.connect)
app.command("disconnect")(spotify_accounts.disconnect)
app.command("accounts")(spotify_accounts.accounts)
app.command("status")(spotify_status.status)
app.command("pull")(spotify_pull.pull)
app.command("capabilities")(spotify_status.capabilities)
