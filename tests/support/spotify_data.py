"""Spotify's tables in tests: a connected user without tokens, and all rows."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

TABLES = (
    *("spotify_pull", "spotify_track", "spotify_play", "spotify_saved_track", "spotify_followed_artist"),
    *("spotify_artist", "spotify_artist_album", "spotify_playlist", "spotify_playlist_snapshot"),
    *("spotify_playlist_item", "spotify_playlist_change", "spotify_top_item", "spotify_profile"),
)


def connect_user(database: SecretStr, tenant_id: str, user_id: str) -> None:
    """Write the row of a connected user."""
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(
            "insert into core.spotify_account (tenant_key, user_id, client_id, consented_at) "
            "select tenant_key, %s, 'client', now() from core.tenant where tenant_id = %s",
            [user_id, tenant_id],
        )


def spotify_tables(database: SecretStr) -> dict[str, list[dict[str, Any]]]:
    """Return the content of all tables, in the order of their keys."""
    with psycopg.connect(database.get_secret_value(), row_factory=dict_row) as connection:
        return {
            table: connection.execute(
                sql.SQL("select * from core.{table} t order by t").format(table=sql.Identifier(table))
            ).fetchall()
            for table in TABLES
        }
