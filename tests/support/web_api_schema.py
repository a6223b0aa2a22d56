"""The Web API's published description, as JSON Schema: the sandbox is measured by it.

The description is test data beside the checkout (`../shared/spotify/openapi.yaml`), never part of the product. It is
OpenAPI 3.0, a dialect of JSON Schema: `nullable` becomes a type, `discriminator` falls away. Two things are added: an
answer holds no field that the description does not know, and in development mode none that is deprecated.
"""

from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, product
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

DESCRIPTION = Path(__file__).resolve().parents[3] / "shared" / "spotify" / "openapi.yaml"

NULL_NEVERTHELESS = {
    "CursorPagingObject": ("next", "cursors"),
    "CursorObject": ("after", "before"),
    "PlayHistoryObject": ("context",),
    "PlaylistTrackObject": ("item", "track"),
    "SimplifiedArtistObject": ("id", "href", "uri"),  # of local files, as in the next two
    "AlbumBase": ("id", "href", "uri", "album_type", "release_date", "release_date_precision"),
    "TrackObject": ("id", "href"),
}
"""Where the service answers null and the description says that it does not (research, and tekore's issues)."""

NULL_ITEMS = ("ManyArtists", "ManyAlbums", "ManyTracks")
"""Answers whose list holds null for what is unknown; PagingPlaylistObject is the same in searches."""


class WebApiSchema:
    """Validates answers of one quota mode."""

    def __init__(self, *, development: bool) -> None:
        self._document = deepcopy(_description())
        self._schemas = self._document["components"]["schemas"]
        self._responses = self._document["components"]["responses"]
        self._allow_nulls()
        for schema in _walk(self._document["components"]):
            _translate(schema, development=development)
        for schema in self._schemas.values():
            self._require_what_is_left(schema)

    def problems(self, path: str, status: int, answer: Any) -> list[str]:
        """Return what is wrong with an answer of the operation at `path`, as the description writes it."""
        response = self._document["paths"][path]["get"]["responses"][str(status)]
        name = response["$ref"].rpartition("/")[2]
        schema = self._responses[name]["content"]["application/json"]["schema"]
        validator = jsonschema.Draft4Validator({**schema, "components": self._document["components"]})
        found = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(answer)]
        return found + sorted(set(self._unknown(schema, answer, "$")))

    def _unknown(self, schema: Any, value: Any, place: str) -> Iterator[str]:
        """Yield the fields that no part of the schema knows."""
        parts = list(self._parts(schema))
        if isinstance(value, list):
            for below, each in product([part["items"] for part in parts if "items" in part], value):
                yield from self._unknown(below, each, f"{place}[]")
        elif isinstance(value, dict):
            known: dict[str, list[Any]] = {}
            for name, below in chain.from_iterable(part.get("properties", {}).items() for part in parts):
                known.setdefault(name, []).append(below)
            yield from (f"{place}.{name}: is not described" for name in value if known and name not in known)
            for name in value.keys() & known.keys():
                yield from chain.from_iterable(self._unknown(b, value[name], f"{place}.{name}") for b in known[name])

    def _parts(self, schema: Any) -> Iterator[Any]:
        """Yield a schema and those it is made of; of alternatives, the track."""
        if "$ref" in schema:
            yield from self._parts(self._schemas[schema["$ref"].rpartition("/")[2]])
            return
        yield schema
        for each in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())[:1]):
            yield from self._parts(each)

    def _require_what_is_left(self, schema: Any) -> None:
        """Drop from `required` what development mode has taken away, and the markets, which a `market` takes away."""
        left = {field for part in self._parts(schema) for field in part.get("properties", {})}
        for part in (schema, *schema.get("allOf", ())):
            if "required" in part:
                part["required"] = [field for field in part["required"] if field in left - {"available_markets"}]

    def _allow_nulls(self) -> None:
        for name, fields in NULL_NEVERTHELESS.items():
            for part in self._parts(self._schemas[name]):
                for field in fields:
                    if field in part.get("properties", {}):
                        part["properties"][field] = {"nullable": True, "anyOf": [part["properties"][field]]}
        for name in NULL_ITEMS:
            schema = self._responses[name]["content"]["application/json"]["schema"]
            for items in schema["properties"].values():
                items["items"] = {"nullable": True, "anyOf": [items["items"]]}
        for part in self._parts(self._schemas["PagingPlaylistObject"]):
            if "items" in part.get("properties", {}):
                items = part["properties"]["items"]
                items["items"] = {"nullable": True, "anyOf": [items["items"]]}


_loaded: dict[Path, Any] = {}


def _description() -> Any:
    if not DESCRIPTION.is_file():
        pytest.skip(f"the Web API's description is not beside the checkout ({DESCRIPTION})")
    if DESCRIPTION not in _loaded:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _loaded[DESCRIPTION] = yaml.load(DESCRIPTION.read_text(encoding="utf-8"), Loader=loader)
    return _loaded[DESCRIPTION]


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(each)


def _translate(schema: dict[str, Any], *, development: bool) -> None:
    """Turn one node of OpenAPI 3.0 into JSON Schema."""
    schema.pop("discriminator", None)
    schema.pop("example", None)
    properties = schema.get("properties")
    if development and isinstance(properties, dict):
        gone = {name for name, each in properties.items() if isinstance(each, dict) and each.get("deprecated")}
        for name in gone:
            del properties[name]
    if schema.pop("nullable", False) is True:
        if "anyOf" in schema:
            schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
        else:
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
