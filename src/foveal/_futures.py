"""Work in threads and processes that a signal may interrupt at any time.

Ctrl-C raises its exception wherever the main thread is. Raised while a lock of a future is being
acquired, it leaves the lock acquired: the thread that sets the result waits for the lock, and the
program for the thread, forever. So signals wait while futures are used, for 0.2 s at most.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from typing import TypeVar

from foveal._signals import deferred

Task = TypeVar("Task")
Result = TypeVar("Result")

_SECONDS = 0.2


def submit(
    pool: Executor, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> list[Future[Result]]:
    """Submit `work(task)` for every task."""
    with deferred():
        return [pool.submit(work, task) for task in tasks]


def result_of(future: Future[Result]) -> Result:
    """Wait for the result of a future, and return it.

    Raises:
        Exception: what the work raised.
    """
    while True:
        with deferred():
            if wait([future], timeout=_SECONDS).done:
                return future.result()


def cancel(futures: Iterable[Future[Result]]) -> None:
    """Cancel those that have not begun."""
    with deferred():
        for future in futures:
            future.cancel()


def map_in_order(
    pool: Executor, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Results of `work(task)` in the order of the tasks; as `Executor.map`.

    Raises:
        Exception: what `work` raised; the tasks that have not begun are cancelled.
    """
    futures = submit(pool, work, tasks)
    try:
        for future in futures:
            yield result_of(future)
    finally:
        cancel(futures)
