"""The processes that load images: that one died is heard of at once, and none outlives the loader.

A process that is killed, as where memory runs out, leaves half a batch in the pipe and locks that
nobody gives back: whoever waits for it waits for ever.
"""

import atexit
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from foveal._signals import KINDS
from foveal.errors import Failure

_CHILD_DIED = getattr(signal, "SIGCHLD", None)  # not every platform has it


def iterate(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of a loader with processes.

    Raises:
        Failure: one of the processes has died.
    """
    with _handling_no_deaths():
        iterator: Any = iter(loader)
    workers: Sequence[BaseProcess] = iterator._workers

    def end() -> None:
        for worker in workers:
            worker.kill()

    def check() -> None:
        if not iterator._shutdown:  # after the last batch they end by themselves
            check_alive(workers)

    atexit.register(end)  # they ignore the signal that Python sends them when it ends
    try:
        while True:
            with _calling_at_a_death(check):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                except Failure:
                    raise
                except Exception:  # what the half of a batch leads to
                    wait([worker.sentinel for worker in workers], timeout=1)
                    check()
                    raise
            yield batch
    except Failure:
        end()
        raise
    finally:
        iterator._shutdown_workers()
        end()
        atexit.unregister(end)


def check_alive(workers: Sequence[BaseProcess]) -> None:
    """Refuse to go on without a process.

    Raises:
        Failure: one of them has died.
    """
    ended = wait([worker.sentinel for worker in workers], timeout=0)
    dead = [worker for worker in workers if worker.sentinel in ended]
    if dead:
        dead[0].join(timeout=1)
        raise Failure(
            f"{len(dead)} of {len(workers)} processes that load images died (exit status "
            f"{dead[0].exitcode}), maybe because memory ran out: use fewer --workers"
        )


def ignore_signals(worker: int) -> None:
    """Leave signals, which reach every process of a terminal or a job, to the one that trains.

    It still needs the batches of its workers to finish its step.
    """
    for number in KINDS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handling_no_deaths() -> Iterator[None]:
    """Undo that torch makes every death raise an error wherever the program is just then."""
    before = signal.getsignal(_CHILD_DIED) if _CHILD_DIED else None
    yield
    if _CHILD_DIED and before is not None and _is_main_thread():
        signal.signal(_CHILD_DIED, before)


@contextmanager
def _calling_at_a_death(check: Callable[[], None]) -> Iterator[None]:
    """Call a function now, and inside whenever a process ends, even while it is waited for."""

    def handle(number: int, frame: FrameType | None) -> None:
        check()

    if not (_CHILD_DIED and _is_main_thread()):
        check()
        yield
        return
    before = signal.signal(_CHILD_DIED, handle)
    try:
        check()
        yield
    finally:
        signal.signal(_CHILD_DIED, before)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
