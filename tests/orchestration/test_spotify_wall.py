"""Spotify's terms forbid to train with its content: no way leads from it to features, models or scores."""

import re

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.definitions import composed
from collectors_dagster.integrations.timescale.queries import named_queries, query_files

LEARNING = {"features", "models", "scoring"}
SQL = PROJECT_ROOT / "collectors_dagster" / "integrations" / "timescale" / "sql"
TABLE = re.compile(r"\b(?:core|api)\.spotify_\w+", re.IGNORECASE)
OWN = re.compile(r"spotify_\w+")


def descendants(graph: AssetGraph, of: dg.AssetKey) -> set[dg.AssetKey]:
    found: set[dg.AssetKey] = set()
    following = [of]
    while following:
        children = graph.get(following.pop()).child_keys - found
        found |= children
        following.extend(children)
    return found


def test_no_asset_that_learns_descends_from_spotify() -> None:
    graph = composed().resolve_asset_graph()
    spotify = [key for key in graph.get_all_asset_keys() if graph.get(key).group_name == "spotify"]
    assert len(spotify) == 8
    groups = {graph.get(child).group_name for key in spotify for child in descendants(graph, key)}
    assert groups <= {"spotify"}
    learning = [key for key in graph.get_all_asset_keys() if graph.get(key).group_name in LEARNING]
    assert learning
    assert all(graph.get(parent).group_name != "spotify" for key in learning for parent in graph.get(key).parent_keys)


def test_no_other_query_names_a_table_of_spotifys() -> None:
    others = {
        f"{table}.{query.name}": TABLE.findall(query.statement)
        for table in query_files()
        for query in named_queries(table)
        if not OWN.fullmatch(table)
    }
    assert {name: tables for name, tables in others.items() if tables} == {}
    saved = {path.name: TABLE.findall(path.read_text()) for path in (SQL / "saved").glob("*.sql")}
    assert {name: tables for name, tables in saved.items() if tables} == {}


@pytest.mark.parametrize("room", ["features", "models", "scorer", "strategies/sampling.py"])
def test_no_file_that_learns_names_spotify(room: str) -> None:
    place = PROJECT_ROOT / "collectors_dagster" / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files
    assert [path.name for path in files if "spotify" in path.read_text(encoding="utf-8").lower()] == []


def test_views_of_metrics_hold_nothing_of_spotifys() -> None:
    views = re.findall(r"create view api\.(\w+) with .*?;", (SQL / "schema.sql").read_text(), re.DOTALL)
    bodies = dict(
        re.findall(
            r"create view api\.(\w+) with \(security_barrier\) as(.*?);", (SQL / "schema.sql").read_text(), re.DOTALL
        )
    )
    assert len(views) == len(bodies)
    crossing = {name for name, body in bodies.items() if TABLE.search(body)} ^ {
        name for name in bodies if name.startswith("spotify_")
    }
    assert crossing == set()
