"""What Redis says is a stranger's: it is understood strictly, or refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import exceptions
from redis.crc import key_slot

from collectors_dagster.integrations.redis.faults import kind_of, unavailable
from collectors_dagster.integrations.redis.replies import MalformedReplyError, parsed
from collectors_dagster.integrations.redis.script import ScriptShelf
from collectors_dagster.integrations.redis.slots import SLOTS, parse_slots, slot_of

ITEMS = st.none() | st.integers() | st.binary(max_size=20)
ANYTHING = st.recursive(
    ITEMS | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)
ASKED = ("asked", 7000)


@given(reply=st.lists(ITEMS, max_size=20))
def test_list_of_integers_bytes_and_nothings_is_a_reply(reply: list[object]) -> None:
    assert parsed(reply) == reply


@given(answer=ANYTHING)
@example(answer=[[None, None, {}]])
def test_anything_else_is_refused(answer: object) -> None:
    flat = isinstance(answer, list) and all(item is None or type(item) in {int, bytes} for item in answer)
    if flat:
        assert parsed(answer) == answer
    else:
        with pytest.raises(MalformedReplyError):
            parsed(answer)


def test_list_without_end_is_refused() -> None:
    with pytest.raises(MalformedReplyError, match="far too long"):
        parsed([1] * 10_001)


def test_exception_within_a_reply_is_refused() -> None:
    with pytest.raises(MalformedReplyError):
        parsed([1, exceptions.ResponseError("inner")])


@given(answer=ANYTHING)
@example(answer=[[None, None, {}]])
def test_any_map_of_slots_is_whole_or_refused(answer: object) -> None:
    try:
        found = parse_slots(answer, ASKED)
    except MalformedReplyError:
        return
    assert len(found.masters) == SLOTS


def test_map_of_slots_names_masters_and_all_nodes() -> None:
    found = parse_slots([[0, 99, [b"a", 1, b"id"], [b"b", 2, b"id"]], [200, 16383, [b"", 3, b"id"]]], ASKED)
    assert [found.masters[slot] for slot in (0, 99, 100, 199, 200)] == [("a", 1), ("a", 1), None, None, ("asked", 3)]
    assert found.nodes == (("a", 1), ("b", 2), ("asked", 3))


@pytest.mark.parametrize(
    "answer", [[[0, SLOTS, [b"a", 1]]], [[5, 1, [b"a", 1]]], [[0, 1, [b"a"]]], [[0, 1]], [[0, 1, [7, 1]]]]
)
def test_map_of_slots_that_cannot_be_is_refused(answer: object) -> None:
    with pytest.raises(MalformedReplyError):
        parse_slots(answer, ASKED)


def test_slot_that_moved_is_the_only_one() -> None:
    found = parse_slots([[0, 16383, [b"a", 1]]], ASKED).moved(7, ("new", 9))
    assert (found.masters[6], found.masters[7], found.masters[8]) == (("a", 1), ("new", 9), ("a", 1))
    assert len(found.masters) == SLOTS
    assert ("new", 9) in found.nodes


@given(tag=st.text(min_size=1).filter(lambda text: not {"{", "}"} & set(text)))
def test_slots_are_the_drivers(tag: str) -> None:
    assert slot_of(tag) == key_slot(f"prefix:{{{tag}}}:part".encode())


@pytest.mark.parametrize(
    ("error", "kind", "one_object"),
    [
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "wrong data", True),
        (exceptions.ResponseError("user_script:3: attempt to perform arithmetic on a nil value"), "wrong data", True),
        (exceptions.ResponseError("value is not an integer or out of range script: x"), "wrong data", True),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "refused", False),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "refused", False),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "refused", False),
        (exceptions.BusyLoadingError("x"), "loading", False),
        (exceptions.MaxConnectionsError("x"), "unreachable", False),
        (exceptions.ClusterDownError("x"), "cluster down", False),
        (AttributeError("'NoneType' object has no attribute 'writelines'"), "driver", False),
        (RuntimeError("hunter2 at redis://:hunter2@h"), "driver", False),
    ],
)
def test_every_error_has_a_kind_and_a_reach_and_no_secret(error: Exception, kind: str, *, one_object: bool) -> None:
    told = unavailable(error, "step")
    assert (kind_of(error), told.kind, told.one_object) == (kind, kind, one_object)
    assert "hunter2" not in str(told)


def test_step_without_a_script_is_told_by_its_name() -> None:
    with pytest.raises(LookupError, match="'no_such_step' has no script in Lua"):
        ScriptShelf()["no_such_step"]
    with pytest.raises(LookupError):
        ScriptShelf()["../scripts/store_check"]
