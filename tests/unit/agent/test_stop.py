"""The sign to stop."""

import os
import signal
import threading
import time

from collectors_dagster.agent.stop import Stop
from tests.support.patience import patient


def test_nobody_waits_longer_than_asked() -> None:
    stop = Stop()
    assert not stop.wait(0.0)
    assert not stop.wait(-1.0)
    assert not stop.wait(0.01)
    assert not stop.is_set()


def test_everybody_who_waits_is_told_and_whoever_comes_later_too() -> None:
    stop = Stop()
    told: list[bool] = []
    waiting = [threading.Thread(target=lambda: told.append(stop.wait(60))) for _ in range(4)]
    for thread in waiting:
        thread.start()
    stop.set()
    for thread in waiting:
        thread.join(20)
    assert told == [True] * 4
    assert stop.wait()
    assert stop.is_set()


def test_it_may_be_given_twice() -> None:
    stop = Stop()
    stop.set()
    stop.set()
    assert stop.wait(0.0)
    assert stop.wait(0.0)


def test_a_signal_ends_the_wait_at_once() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGUSR1, lambda *_: stop.set())
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    began = time.monotonic()
    try:
        timer.start()
        assert stop.wait(60)
    finally:
        timer.join(20)
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < patient(30)
