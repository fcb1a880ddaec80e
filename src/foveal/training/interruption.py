"""Stopping politely: the first Ctrl-C lets the step finish, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from foveal.runs.folder import RunFolder

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # it is no error
    """Training was asked to stop, and did after saving what resuming needs.

    Attributes:
        step: steps made.
        steps: of the whole run.
        run: the folder it can be resumed from, or None.
    """

    def __init__(self, step: int, steps: int, run: RunFolder | None) -> None:
        """Say how far it came."""
        super().__init__(f"stopped at step {step} of {steps}")
        self.step, self.steps, self.run = step, steps, run


@contextmanager
def polite_stop() -> Iterator[threading.Event]:
    """An event that is set by the first Ctrl-C or SIGTERM; the second has its usual effect.

    Outside the main thread, where no signals arrive, it is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        restore()

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()
