"""Open files: as many as may be asked for, of which a collector keeps a part."""

import resource
from collections.abc import Iterator

import pytest

from collectors_dagster.collectors.descriptors import ENOUGH, allowance, raise_limit


@pytest.fixture(autouse=True)
def hard() -> Iterator[int]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_allowance_is_a_part_of_the_limit() -> None:
    assert (allowance(0.5), allowance(0.25)) == (256, 128)


def test_the_limit_is_raised_to_what_is_allowed_and_enough_and_never_lowered(hard: int) -> None:
    raise_limit()
    allowed = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
    if hard > ENOUGH:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH + 1, hard))
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == ENOUGH + 1
