"""Signals wait where an exception would leave a lock of the standard library taken."""

import os
import signal
import subprocess
import sys

import pytest

from foveal._signals import deferred

STOPPED = """
import signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from foveal import _futures

left = 0

def raise_at_a_lock(frame, event, argument):
    global left
    name = frame.f_code.co_filename
    if event != "c_return" or not name.endswith(("threading.py", "_base.py", "thread.py")):
        return
    left -= 1
    if left == 0:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

def work(task):
    time.sleep(0.05)
    return task

stopped = 0
for left in range(1, 100):
    with ThreadPoolExecutor(2) as pool:
        try:
            sys.setprofile(raise_at_a_lock)
            found = list(_futures.map_in_order(pool, work, range(3)))
            sys.setprofile(None)
            assert found == [0, 1, 2]
            break
        except KeyboardInterrupt:
            stopped += 1
print(stopped)
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


def test_an_interruption_at_any_lock_of_a_future_leaves_no_thread_waiting() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 10
