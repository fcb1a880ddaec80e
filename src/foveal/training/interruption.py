"""Graceful stop: the first signal lets the step finish, the second stops at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from foveal._signals import KINDS, handled_by
from foveal.runs.folder import RunFolder


class Stopped(Exception):  # no error
    """Training was asked to stop, and did so after saving what resuming needs.

    Attributes:
        step: number of steps made.
        steps: number of steps of the whole run.
        run: folder to resume from, or None.
        kind: what the signal raises where nobody waits for it: `KeyboardInterrupt`, or a kind of
            it.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        run: RunFolder | None,
        kind: type[KeyboardInterrupt] = KeyboardInterrupt,
    ) -> None:
        super().__init__(f"stopped at step {step} of {steps}")
        self.step, self.steps, self.run, self.kind = step, steps, run, kind


class StopRequest(threading.Event):
    """Whether a signal has asked to stop, and what that signal would have raised."""

    kind: type[KeyboardInterrupt] = KeyboardInterrupt


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Yield an event that the first Ctrl-C, SIGTERM or SIGHUP sets; the second acts as usual.

    Outside the main thread, where no signals arrive, it is never set.
    """
    stop = StopRequest()

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.kind = KINDS[number]
        stop.set()
        restore()

    with handled_by(request_stop) as restore:
        yield stop
