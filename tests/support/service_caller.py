"""A short process that calls under policies: ``python -m tests.support.service_caller SERVICE GOOD FAILING``.

Makes so many good calls, then so many failing ones, by the settings of its environment; prints how many ran.
"""

import random
import sys

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.policy_sections import BUILT_IN
from collectors_dagster.errors import CollectorsError, ServiceUnreachableError
from collectors_dagster.integrations.redis import reporting_store
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.patterns.policies import Policies

SERVICE = next(each for each in BUILT_IN if each == sys.argv[1])
SETTINGS, CLOCK = load_settings(), SystemClock()
GUARDS = Policies(
    SETTINGS.patterns,
    clock=CLOCK,
    random=random.random,
    store=reporting_store(SETTINGS, clock=CLOCK),
    metrics=process_metrics(),
).guards(SERVICE)
"""Kept to the end of the process, as everywhere."""


def main(words: list[str]) -> None:
    """Call, and print how many calls ran."""
    ran: list[bool] = []

    def good() -> None:
        ran.append(True)

    def failing() -> None:
        ran.append(False)
        raise ServiceUnreachableError("no connection", service=SERVICE, operation="ask")

    for call in (*[good] * int(words[0]), *[failing] * int(words[1])):
        try:
            GUARDS.once.call(call)
        except CollectorsError:
            continue
    sys.stdout.write(f"{len(ran)}\n")


if __name__ == "__main__":
    main(sys.argv[2:])
