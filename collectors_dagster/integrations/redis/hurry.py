"""Blocking connections whose waits end with the caller's deadline (:mod:`collectors_dagster.patterns.deadline`)."""

from typing import Any

import redis

from collectors_dagster.patterns.deadline import remaining_seconds

LEAST_SECONDS = 0.001
"""A socket takes 0 for "do not wait at all", which is another kind of error."""


def hurried(pool: Any) -> None:
    """Let the connections that `pool` is going to make wait no longer than their callers may.

    Connecting and each answer are cut; the handshake of TLS keeps the time-out of an answer.
    """
    parent = pool.connection_class
    pool.connection_class = type(f"Hurried{parent.__name__}", (_Hurried, parent), {})


class _Hurried(redis.Connection):
    @property  # type: ignore[misc]  # nobody sets it
    def socket_connect_timeout(self) -> float:
        return max(LEAST_SECONDS, min(float(super().socket_connect_timeout or 0), remaining_seconds()))

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        left = remaining_seconds()
        if left < float(self.socket_timeout or 0):
            options["timeout"] = max(LEAST_SECONDS, left)
        return super().read_response(*arguments, **options)
