"""How much longer than alone on a machine things may take here: tests run side by side, beside who knows what.

``COLLECTORS_TEST_PATIENCE=1 make test ARGS="-n 0 ..."`` on an idle machine holds everything to what is promised.
"""

from tests.support.environment import told

PATIENCE = float(told("COLLECTORS_TEST_PATIENCE") or 5)


def patient(seconds: float) -> float:
    """Return for how long to wait for what is promised within `seconds`."""
    return seconds * PATIENCE
