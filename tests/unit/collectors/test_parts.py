"""Collectors made of parts: one part's failure, changes of series, what is asked slowly."""

import math
from collections.abc import Iterator

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.parts import NOTHING, Parts, Slowly
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.errors import CollectionError, SourceUnavailableError
from collectors_dagster.samples import Kind, Metric

A, B, C = (Series(Metric(name, Kind.GAUGE, "things", "Things.")) for name in "abc")


class Scripted:
    """A part that answers what it was told to, or fails."""

    def __init__(self, answer: Reading | CollectionError) -> None:
        self.answer = answer
        self.closed = False

    def read(self) -> Reading:
        if isinstance(self.answer, CollectionError):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


FAILURE = SourceUnavailableError("gone", source="test")


def test_parts_are_read_as_one_in_their_order() -> None:
    reading = Parts(Scripted(Reading((A, B), [1, 2])), Scripted(NOTHING), Scripted(Reading((C,), (3,)))).read()
    assert reading == Reading((A, B, C), [1, 2, 3])


def test_the_series_stay_the_same_object_until_a_part_changes_its_own() -> None:
    part = Scripted(Reading((A,), [1]))
    parts = Parts(part, Scripted(Reading((C,), [3])))
    before = parts.read().series
    assert parts.read().series is before
    part.answer = Reading((A, B), [1, 2])
    assert parts.read().series == (A, B, C)


def test_a_part_that_fails_leaves_gaps_in_its_own_values_only() -> None:
    part = Scripted(Reading((A, B), [1, 2]))
    parts = Parts(part, Scripted(Reading((C,), [3])))
    before = parts.read().series
    part.answer = FAILURE
    reading = parts.read()
    assert reading.series is before
    assert [math.isnan(value) for value in reading.values] == [True, True, False]
    assert reading.errors == (FAILURE,)


def test_a_part_that_failed_from_the_start_has_no_series() -> None:
    reading = Parts(Scripted(FAILURE), Scripted(Reading((C,), [3]))).read()
    assert (reading.series, reading.values, reading.errors) == ((C,), [3], (FAILURE,))


@pytest.mark.parametrize("other", [FAILURE, NOTHING])
def test_a_collector_fails_when_none_of_its_parts_has_anything_to_say(other: Reading | CollectionError) -> None:
    with pytest.raises(SourceUnavailableError, match="gone"):
        Parts(Scripted(FAILURE), Scripted(other)).read()


def test_parts_are_closed_together() -> None:
    parts = [Scripted(NOTHING), Scripted(FAILURE)]
    Parts(*parts).close()
    assert all(part.closed for part in parts)


def test_what_changes_slowly_is_asked_when_its_time_has_come() -> None:
    clock, asked = ManualClock(), iter(range(10))
    slowly = Slowly(lambda: next(asked), clock, 5.0)
    assert [slowly(), slowly()] == [0, 0]
    clock.sleep(4.9)
    assert slowly() == 0
    clock.sleep(0.1)
    assert slowly() == 1


def test_a_question_that_failed_is_asked_again_at_once() -> None:
    answers: Iterator[CollectionError | int] = iter((FAILURE, 7))

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, CollectionError):
            raise answer
        return answer

    slowly = Slowly(ask, ManualClock(), 5.0)
    with pytest.raises(SourceUnavailableError):
        slowly()
    assert slowly() == 7
