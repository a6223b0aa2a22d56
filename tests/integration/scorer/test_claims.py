import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.timescale.claims import Claims


def test_a_name_is_held_by_one_until_it_lets_go(database: SecretStr) -> None:
    first, second = (Claims(database, "scorer") for _ in range(2))
    assert first.hold({"a", "b"}) == {"a", "b"}
    assert second.hold({"a", "b", "c"}) == {"c"}
    assert first.hold({"a", "b"}) == {"a", "b"}
    assert first.hold({"a"}) == {"a"}
    assert second.hold({"a", "b", "c"}) == {"b", "c"}
    first.release()
    assert second.hold({"a"}) == {"a"}
    assert first.hold({"a", "b", "c"}) == {"b", "c"}
    first.release()
    second.release()


def test_names_are_words_and_no_sql(database: SecretStr) -> None:
    claims = Claims(database, "scorer")
    names = {"'; drop table core.tenant; --", "über", 'a"b', "%(names)s", "{a,b}"}
    assert claims.hold(names) == names
    claims.release()


def test_holder_whose_connection_dies_holds_nothing_and_says_so(database: SecretStr) -> None:
    holder, heir = Claims(database, "scorer"), Claims(database, "scorer")
    assert holder.hold({"work"})
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'collectors-scorer-claims'"
        )
    assert heir.hold({"work"})
    with pytest.raises(CollectorsError):
        holder.hold({"work"})
    assert not holder.hold({"work"})
    heir.release()
    holder.release()


def test_database_that_is_away_is_an_error_without_the_password() -> None:
    absent = Claims(SecretStr("postgresql://someone:s3cr3t@127.0.0.1:9/none"), "scorer")
    with pytest.raises(CollectorsError) as raised:
        absent.hold({"work"})
    assert "s3cr3t" not in str(raised.value)
