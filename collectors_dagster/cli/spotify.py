"""`collectors spotify`: users' accounts at Spotify.

Exit codes: 0 done, 1 refused or failed (one line with the remedy), 2 the command line itself is wrong.
"""

import typer

from collectors_dagster.cli import spotify_accounts

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("connect")(spotify_accounts.connect)
app.command("disconnect")(spotify_accounts.disconnect)
app.command("accounts")(spotify_accounts.accounts)
