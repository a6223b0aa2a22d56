import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.timescale.leadership import Leadership


def test_one_of_two_leads_until_it_lets_go(database: SecretStr) -> None:
    first, second, other = (Leadership(database, role) for role in ("scorer", "scorer", "other"))
    assert [first.hold(), second.hold(), first.hold(), other.hold()] == [True, False, True, True]
    first.release()
    assert [second.hold(), first.hold()] == [True, False]
    second.release()
    other.release()


def test_leader_whose_connection_dies_stops_leading_and_says_so(database: SecretStr) -> None:
    leader, heir = Leadership(database, "scorer"), Leadership(database, "scorer")
    assert leader.hold()
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'collectors-scorer-leader'"
        )
    assert heir.hold()
    with pytest.raises(CollectorsError):
        leader.hold()
    assert not leader.hold()
    heir.release()


def test_database_that_is_away_is_an_error_without_the_password() -> None:
    absent = Leadership(SecretStr("postgresql://someone:s3cr3t@127.0.0.1:9/none"), "scorer")
    with pytest.raises(CollectorsError) as raised:
        absent.hold()
    assert "s3cr3t" not in str(raised.value)
