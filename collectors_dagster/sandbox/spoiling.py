"""What faults do to an answer: to its JSON, to its bytes, and to the way it is sent."""

from collections.abc import Mapping
from typing import Any

from collectors_dagster.sandbox.call import ApiError
from collectors_dagster.sandbox.faults import Fault
from collectors_dagster.sandbox.http import Answer, Wire, text_answer
from collectors_dagster.sandbox.rendering import Json

FOREIGN = "http://foreign.invalid"
_DOWNGRADED = "http://127.0.0.1:1"
_PAGE = "<!DOCTYPE html><html><head><title>Sandbox</title></head><body><h1>Please try again later</h1></body></html>"


def edited(fault: Fault, answer: Json, base_url: str, path: str) -> Json:
    """Return the JSON of an answer as a fault of its content leaves it.

    Raises
    ------
    ApiError
        If an edit names something that the answer does not have.
    """
    page = _page_in(answer)
    if fault.kind == "nulls" and page is not None:
        page["items"] = [None] * min(fault.count, len(page["items"])) + page["items"][fault.count :]
    elif fault.kind == "next" and page is not None:
        page["next"] = _target(fault.value, str(page["href"]), base_url, path)
    elif fault.kind == "edit":
        for pointer, value in fault.edits.items():
            try:
                _put(answer, pointer, value)
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise ApiError(500, f"the sandbox's fault does not fit this answer: {pointer}") from error
    return answer


def redirected(fault: Fault, base_url: str, path: str) -> Answer:
    """Return a redirect."""
    location = _target(fault.value, base_url + path, base_url, path)
    return Answer(302, b"", {"location": location})


def spoiled(fault: Fault, answer: Answer) -> Answer:
    """Return an answer whose bytes, or whose sending, a fault spoils; other faults leave it as it is."""
    body = answer.body
    replaced: Mapping[str, bytes] = {
        "truncated_json": body[: len(body) // 2],
        "empty": b"",
        "bad_utf8": body[:-2] + b"\xff\xfe" + body[-2:],
        "not_an_object": b"[" + body + b"]",
    }
    if fault.kind == "html":
        return text_answer(_PAGE, 200, "text/html; charset=utf-8")
    answer.body = replaced.get(fault.kind, body)
    answer.wire = wire_of(fault)
    return answer


def wire_of(fault: Fault) -> Wire:
    """Return how a fault sends an answer."""
    wires = {
        "reset": Wire("reset"),
        "reset_midway": Wire("reset", 0.5),
        "short_body": Wire("short", 0.5),
        "hang": Wire("hang"),
        "hang_midway": Wire("hang", 0.5),
        "drip": Wire(bytes_per_second=fault.bytes_per_second),
    }
    return wires.get(fault.kind, Wire())


def _page_in(answer: Json) -> Json | None:
    """Return the paging object of an answer, which may lie one level down."""
    for each in (answer, *answer.values()):
        if isinstance(each, dict) and isinstance(each.get("items"), list):
            return each
    return None


def _target(value: str, own: str, base_url: str, path: str) -> str:
    named = {
        "foreign": f"{FOREIGN}{path}?offset=0&limit=50",
        "self": own,
        "http": f"{_DOWNGRADED}{path}?offset=50&limit=50",
        "back": f"{base_url}{path}?offset=0&limit=50",
        "elsewhere": f"{base_url}/v1/me",
    }
    return named.get(value, value)


def _put(answer: Any, pointer: str, value: Any) -> None:
    """Set what a JSON pointer (RFC 6901) names; a name that is not there yet is made."""
    *way, last = pointer.removeprefix("/").split("/")
    place = answer
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
