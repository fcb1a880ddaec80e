"""Signals wait where an exception would leave a lock of the standard library taken."""

import os
import signal
import subprocess
import sys

import pytest

from foveal._signals import deferred

STOPPED_IN_A_LOCK = """
import signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from foveal.evaluation.inference import _loaded_ahead

class Slow:
    file, error = "a.png", "unreadable"

    @property
    def image(self):
        time.sleep(0.5)

def at_the_lock_of_a_result(frame, event, argument):
    names = frame.f_code.co_name, frame.f_back.f_code.co_name
    if event == "c_return" and names == ("__enter__", "result"):
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

with ThreadPoolExecutor(2) as pool:
    batches = _loaded_ahead([[Slow()], [Slow()]], pool)
    sys.setprofile(at_the_lock_of_a_result)
    try:
        list(batches)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_signals_come_at_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("inside")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inside"]
    with deferred():
        done.append("without")
    assert done == ["inside", "without"]


def test_the_handler_that_was_there_is_called() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with deferred():
            signal.raise_signal(signal.SIGTERM)
            assert not came
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_an_interruption_while_an_image_is_waited_for_ends_the_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_A_LOCK],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout.strip() == "stopped", ended.stderr
