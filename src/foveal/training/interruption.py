"""Graceful stop: the first Ctrl-C lets the step finish, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from foveal.runs.folder import RunFolder

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # no error
    """Training was asked to stop, and did so after saving what resuming needs.

    Attributes:
        step: number of steps made.
        steps: number of steps of the whole run.
        run: folder to resume from, or None.
    """

    def __init__(self, step: int, steps: int, run: RunFolder | None) -> None:
        super().__init__(f"stopped at step {step} of {steps}")
        self.step, self.steps, self.run = step, steps, run


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second has its usual effect.

    Outside the main thread, where no signals arrive, it is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in _SIGNALS:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        restore()
