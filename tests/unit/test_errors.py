"""Every error answers the one question of all policies."""

import re

from collectors_dagster import errors
from collectors_dagster.errors import CollectorsError


def family() -> list[type[CollectorsError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, CollectorsError)]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    documented = set(re.findall(r"[A-Z]\w+Error", errors.__doc__ or ""))
    assert documented == {each.__name__ for each in family()}


def test_the_stars_in_the_docstring_mark_exactly_the_transient_errors() -> None:
    starred = set(re.findall(r"([A-Z]\w+Error) \*", errors.__doc__ or ""))
    assert starred == {each.__name__ for each in family() if each.transient}


def test_an_integration_error_carries_what_a_caller_needs() -> None:
    error = errors.RateLimitedError("slow down", service="webhook", operation="send", retry_after_seconds=7.0)
    assert (error.service, error.operation, error.retry_after_seconds) == ("webhook", "send", 7.0)
