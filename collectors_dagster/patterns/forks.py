"""A child process begins with locks that may be held by threads it does not have: they are made anew there."""

import os
from collections.abc import Callable
from weakref import WeakMethod

_RENEWALS: list[WeakMethod[Callable[[], None]]] = []


def renew_in_children(method: Callable[[], None]) -> None:
    """Call the bound `method` in every child right after a fork, as long as its object lives; does nothing on Windows.

    Parameters
    ----------
    method : bound method
        It must not take a lock that it does not make.
    """
    _RENEWALS[:] = [each for each in _RENEWALS if each() is not None]
    _RENEWALS.append(WeakMethod(method))


def _renew() -> None:
    for each in _RENEWALS:
        method = each()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
