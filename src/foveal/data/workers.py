"""The processes that load images: that one died is heard of at once, and none outlives the loader.

A process that is killed, as where memory runs out, leaves half a batch in the pipe and locks that
nobody gives back: whoever waits for it waits for ever.
"""

import atexit
import signal
import threading
from collections.abc import Iterator, Sequence
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

    atexit.register(end)  # they ignore the signal that Python sends them when it ends
    try:
        while True:
            with _raising_deaths(workers):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                except Failure:
                    raise
                except Exception:  # what the half of a batch leads to
                    wait([worker.sentinel for worker in workers], timeout=1)
                    check_alive(workers)
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
    dead = [worker for worker in workers if not worker.is_alive()]
    if dead:
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
def _raising_deaths(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """Raise inside, even while waiting for a process, when it has died or dies."""

    def check(number: int, frame: FrameType | None) -> None:
        check_alive(workers)

    if not (_CHILD_DIED and _is_main_thread()):
        check_alive(workers)
        yield
        return
    before = signal.signal(_CHILD_DIED, check)
    try:
        check_alive(workers)
        yield
    finally:
        signal.signal(_CHILD_DIED, before)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
