"""Spotify's views and tenants that write SQL: whatever they try, they see their own rows."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, PullScope
from collectors_dagster.integrations.timescale.spotify_rows import TrackRow
from collectors_dagster.strategies.spotify_datasets import DATASETS
from tests.integration.timescale.test_isolation import LEAK
from tests.support.spotify_data import connect_user
from tests.support.sql_tenants import SqlTenant, login_url, seen, workshop
from tests.support.store_data import AURORA, BOREALIS

pytestmark = pytest.mark.every_edition

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
AT = NOW.isoformat()
DAY = date(2026, 11, 30)
VIEWS = (
    *("spotify_pulls", "spotify_plays", "spotify_saved_tracks", "spotify_followed_artists", "spotify_artists"),
    *("spotify_artist_albums", "spotify_playlists", "spotify_playlist_snapshots", "spotify_playlist_items"),
    *("spotify_playlist_changes", "spotify_top_items", "spotify_profiles"),
)


def fill(store: Store, tenant_id: str, word: str) -> None:
    """Give a tenant's user a row of everything, with `word` in all of them."""

    def mark(dataset: str) -> Mark:
        scope = PullScope(tenant_id, dataset, f"{word}-user" if DATASETS[dataset].per_user else "")
        store.spotify.pulls.begin(scope, DATASETS[dataset], keep_days=30, sandbox=False)
        return Mark(scope, {}, NOW)

    spotify, uri = store.spotify, f"spotify:track:{word}"
    tracks: list[TrackRow] = [
        {
            "track_uri": uri,
            "name": word,
            "artist_ids": [word],
            "artist_names": [word],
            "album_id": word,
            "duration_ms": 1,
            "isrc": word,
        }
    ]
    spotify.library.write_plays(
        mark("recently_played"), tracks, [{"played_at": AT, "track_uri": uri, "context_uri": word}]
    )
    spotify.library.write_saved(mark("saved_tracks"), [], [{"track_uri": uri, "added_at": AT}], sweep=NOW)
    spotify.library.write_followed(mark("followed_artists"), [{"artist_id": word, "name": word}], sweep=NOW)
    artist = {"artist_id": word, "name": word, "genres": [word], "popularity": 1, "followers": 1}
    spotify.artists.write(mark("artists"), [artist], day=DAY)  # type: ignore[list-item]  # a stand-in, or rows that are wrong on purpose
    album = {"album_id": word, "name": word, "album_type": word, "release_date": "2026", "total_tracks": 1}
    spotify.artists.write_albums(mark("artist_albums"), word, [album])  # type: ignore[list-item]  # a stand-in, or rows that are wrong on purpose
    spotify.profiles.write_top(
        mark("top_items"), DAY, "artists", "short_term", [{"rank": 1, "item_uri": uri, "name": word}]
    )
    names = {"account_id": word, "display_name": word, "country": word, "product": word, "followers": 1}
    spotify.profiles.write_profile(mark("profile"), DAY, names)  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
    for snapshot, count in ((f"{word}-1", 1), (f"{word}-2", 2)):
        listed = {
            "playlist_id": word,
            "owner_id": word,
            "name": word,
            "public": True,
            "collaborative": False,
            "items_total": count,
            "snapshot_id": snapshot,
        }
        at = mark("playlists")
        spotify.playlists.write_listed(at, [listed], sweep=NOW)  # type: ignore[list-item]  # a stand-in, or rows that are wrong on purpose
        reading = spotify.playlists.start(at, word, snapshot, anew=True)
        items = [{"position": n, "track_uri": uri, "added_at": AT, "added_by": word} for n in range(count)]
        spotify.playlists.write_items(at, reading, [], items)  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
        spotify.playlists.finish(at, reading, snapshot, items=count)


@pytest.fixture
def member(store: Store, database: SecretStr) -> Iterator[psycopg.Connection]:
    """Yield a connection of a login of aurora that was given a place for functions, too; borealis has the vault."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant_id, word in (("aurora", "meadow"), ("borealis", "vault")):
        connect_user(database, tenant_id, f"{word}-user")
        fill(store, tenant_id, word)
    login = store.sql_roles.grant("aurora")
    assert login.password is not None
    workshop(database, login.role)
    url = login_url(database, login.role, login.password.get_secret_value())
    with SqlTenant(login.role, url).connected() as connection:
        connection.execute(LEAK.format(schema="workshop").encode())
        yield connection
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(login.role)))
    store.sql_roles.revoke("aurora", login.role)


def test_every_view_of_spotifys_is_looked_at(member: psycopg.Connection) -> None:
    rows = member.execute("select viewname from pg_views where schemaname = 'api' and viewname like 'spotify%'")
    assert {row[0] for row in rows} == set(VIEWS)


@pytest.mark.parametrize("view", VIEWS)
def test_a_member_sees_its_own_rows_and_nothing_shows_it_others(member: psycopg.Connection, view: str) -> None:
    found = seen(
        member,
        [
            f"select * from api.{view}",
            *(
                f"select count(*) from api.{view} v where {condition}"
                for condition in (
                    "workshop.leak(v::text)",
                    "workshop.leak(v.tenant_id)",
                    "workshop.leak(v::text) or v.tenant_id = 'borealis'",
                    "v::text::integer > 0",
                    "v.tenant_id <> 'aurora' and v::text::integer > 0",
                )
            ),
            f"select * from api.{view} v cross join lateral (select workshop.leak(v::text)) l",
        ],
    )
    assert "meadow" in found
    assert "vault" not in found
    assert "borealis" not in found


@pytest.mark.parametrize("view", VIEWS)
def test_a_plan_tells_nothing_of_a_guess(member: psycopg.Connection, database: SecretStr, view: str) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        owner.execute("analyze")
    plans = [
        member.execute(
            f"explain (analyze, costs, timing off, summary off, buffers off) select count(*) from api.{view} v "
            f"where v::text like '%{guess}%'".encode()
        ).fetchall()
        for guess in ("vault", "fault")
    ]
    assert str(plans[0]).replace("vault", "") == str(plans[1]).replace("fault", "")


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_cannot_be_written_and_hides_its_keys(member: psycopg.Connection, view: str) -> None:
    for statement in ("delete from api.{}", "update api.{} set tenant_id = 'aurora'", "select tenant_key from api.{}"):
        with pytest.raises((psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.UndefinedColumn)):
            member.execute(statement.format(view).encode())
