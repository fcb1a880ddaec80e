"""Helpers shared by the commands."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SUCCESS, MISTAKE, INTERRUPTED, PIPE_CLOSED, TERMINATED = 0, 2, 130, 141, 143


def log(*lines: str) -> None:
    """Write lines to standard error."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def complain(message: str, status: int) -> int:
    """Write one line to standard error, and return the exit status."""
    log(f"foveal: {' '.join(message.split())}")
    return status


def status(errors: Sequence[str | None]) -> int:
    """Report images without a prediction; return failure only if none was predicted.

    Args:
        errors: one per image, None for an image that was predicted.
    """
    bad = [error for error in errors if error is not None]
    if bad:
        log(f"foveal: {len(bad)} of {len(errors)} images could not be predicted: {bad[0]}")
    return MISTAKE if bad and len(bad) == len(errors) else SUCCESS


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: everything is put in order as after Ctrl-C."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`; outside the main thread, where no signals arrive, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
