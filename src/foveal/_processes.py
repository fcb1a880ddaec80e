"""Processes: work over the machine's cores, and which process of a distributed run leads."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from foveal._futures import map_in_order
from foveal.errors import Failure, UserError

_RANKS = (
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "LOCAL_RANK",
)

DIED = "a process died, maybe because memory ran out: make room for it, or use fewer processes"

Task = TypeVar("Task")
Result = TypeVar("Result")


def parallel_map(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None
) -> Iterator[Result]:
    """Results of `work(task)` in the order of the tasks; no process outlives the iteration.

    Args:
        work: a module-level function; must not depend on the order of calls.
        tasks: its arguments.
        workers: number of processes. None: one per core. 1: this process, as always where the
            program is piped into Python.

    Raises:
        Exception: what `work` raised; the remaining tasks are cancelled.
        Failure: a process died.
    """
    count = min(cores() if workers is None else workers, len(tasks))
    if count <= 1 or not _can_be_imported():
        yield from map(work, tasks)
        return
    context = fresh_processes(getattr(work, "func", work).__module__)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin)
    try:
        yield from map_in_order(pool, work, tasks)
    except BrokenProcessPool as error:
        raise Failure(DIED) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _can_be_imported() -> bool:
    """Whether processes can import the program, as they begin with; not if it is piped in."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    return program is None or os.path.exists(program)


def fresh_processes(module: str) -> BaseContext:
    """How to start processes that hold nothing of this one, and have imported a module.

    No plain fork: the caller may have threads. A fork server imports the module only once.
    """
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    if "forkserver" in kinds:
        context.set_forkserver_preload([module])
    return context


class ProcessFailed(RuntimeError):
    """What went wrong in a process of its own, and its exit status."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def in_fresh_process(
    work: Callable[..., Result], order: Mapping[str, Any], *, imports: str | None = None
) -> Result:
    """What a function returns in a process of its own, whose memory is that of nothing else.

    Args:
        work: a function of a module.
        order: its arguments by name.
        imports: a module that such processes begin with; None: that of the function.

    Raises:
        UserError: the function's own.
        ProcessFailed: it raised another error, or the process ended without a result.
    """
    context = fresh_processes(imports or work.__module__)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, order))  # type: ignore[attr-defined]
    process.start()
    sender.close()
    with receiver:
        try:
            result, error = receiver.recv()
        except EOFError:
            result, error = None, "it ended without a result, perhaps for lack of memory"
    process.join()
    if isinstance(error, UserError):
        raise error
    if error is not None:
        raise ProcessFailed(error, process.exitcode)
    found: Result = result
    return found


def _send(sender: Connection, work: Callable[..., Any], order: Mapping[str, Any]) -> None:
    """Send what the function returns, and None; or None, and what went wrong."""
    with sender:
        try:
            sender.send((work(**order), None))
        except UserError as error:
            sender.send((None, error))
        except Exception:
            sender.send((None, traceback.format_exc()))


def is_rank_zero() -> bool:
    """Whether this is the process of a distributed run that writes and reports; alone, it is.

    The rank over all nodes counts. torchrun sets RANK, and may itself be started once per node by
    SLURM, so RANK decides alone. Without it, every number that a launcher gave must be 0: SLURM and
    MPI number all processes; Lightning's launcher numbers nodes and the processes of a node.
    """
    if rank := os.environ.get("RANK"):
        return int(rank) == 0
    return not any(int(os.environ.get(name) or 0) for name in _RANKS)


def cores() -> int:
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """End this process as soon as its parent ends, for whatever reason."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
