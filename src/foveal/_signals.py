"""Signals that ask the program to stop, and the exit statuses that they end it with.

Ctrl-C raises `KeyboardInterrupt`, which ends with 130; SIGTERM, which schedulers send, and SIGHUP,
when the terminal is closed, raise kinds of it, which end with 143 and 129. What the shell made a
program ignore (nohup, a job in the background) stays ignored.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: everything is put in order as after Ctrl-C."""


class HungUp(KeyboardInterrupt):
    """SIGHUP was received: the terminal was closed, or the connection to it was lost."""


KINDS: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
}
if hasattr(signal, "SIGHUP"):  # not every platform has it
    KINDS[signal.SIGHUP] = HungUp


def exit_status(stop: KeyboardInterrupt) -> int:
    """The status that shells and schedulers expect of a program that a signal stopped.

    >>> exit_status(Terminated()), exit_status(KeyboardInterrupt())
    (143, 130)
    """
    return 128 + next((n for n, kind in KINDS.items() if type(stop) is kind), signal.SIGINT)


@contextmanager
def handled_by(
    handler: Handler, numbers: Sequence[int] = tuple(KINDS)
) -> Iterator[Callable[[], None]]:
    """Handle signals inside, but for those that are ignored; yields what restores the handlers.

    Outside the main thread, where no signals arrive, nothing is done.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        known = {number: signal.getsignal(number) for number in numbers}
        before = {n: each for n, each in known.items() if each not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, each in before.items():
            signal.signal(number, each)

    for number in before:
        signal.signal(number, handler)
    try:
        yield restore
    finally:
        restore()


@contextmanager
def raised() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Terminated` and `HungUp`, as Ctrl-C raises its exception."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KINDS[number]

    with handled_by(stop, [number for number in KINDS if number != signal.SIGINT]):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait for the end of the block; `_futures.py` says what for."""
    came: list[int] = []
    with handled_by(lambda number, frame: came.append(number)):
        yield
    for number in came[:1]:
        signal.raise_signal(number)
