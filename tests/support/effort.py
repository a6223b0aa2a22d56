"""How often what is repeated is repeated: little every day, ten times as often where there is time.

``COLLECTORS_TEST_EFFORT=10 make test`` draws ten times as many examples and runs ten times as many races.
"""

from tests.support.environment import told

EFFORT = int(told("COLLECTORS_TEST_EFFORT") or 1)


def times(everyday: int) -> int:
    """Return how often to repeat what is repeated `everyday` times on any day."""
    return everyday * EFFORT
