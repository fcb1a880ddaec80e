"""Trials in several processes, one at a time in each; one Ctrl-C stops them all."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue

import torch

from foveal._processes import DIED, cores, end_with_parent
from foveal.errors import Failure
from foveal.paper.tables.trial import Outcome, Trial, run_trial


def run_trials(trials: Sequence[Trial], jobs: int) -> Iterator[tuple[int, Outcome]]:
    """The index of each trial and its outcome, as soon as it is complete.

    Args:
        trials: what to train.
        jobs: number of processes; each has its share of the cores, and a GPU of its own as far as
            they suffice. With 1 the trials run in this process and show their progress.

    Raises:
        KeyboardInterrupt: the runs were stopped, and can be resumed.
        Failure: a process died.
        Exception: what a trial raised; those that are running are stopped.
    """
    jobs = min(jobs, len(trials))
    if jobs <= 1:
        for index, trial in enumerate(trials):
            yield index, run_trial(trial, progress=True)
        return
    context = multiprocessing.get_context("spawn")
    devices: Queue[str] = context.Queue()
    for device in _devices(jobs):
        devices.put(device)
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (devices, max(1, cores() // jobs)))
    futures = {pool.submit(_run, trial): index for index, trial in enumerate(trials)}
    try:
        for future in as_completed(futures):
            if (outcome := future.result()) is None:
                raise KeyboardInterrupt
            yield futures[future], outcome
    except BrokenProcessPool as error:
        raise Failure(f"{DIED}; finished runs are kept, and the same command goes on") from error
    finally:
        for process in (pool._processes or {}).values():  # no public way before 3.14
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)
        pool.shutdown(wait=True, cancel_futures=True)


def _devices(jobs: int) -> list[str]:
    """The GPU of each process as CUDA names it, "" without GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    return [names[job % count] if count else "" for job in range(jobs)]


def _start_worker(devices: "Queue[str]", threads: int) -> None:
    """Take a GPU; leave Ctrl-C to the parent, who passes it on, and end when the parent does."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    torch.set_num_threads(threads)


def _run(trial: Trial) -> Outcome | None:
    """The outcome of a trial, None if it was stopped."""
    ignoring = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run_trial(trial)
    except KeyboardInterrupt:
        return None
    finally:
        signal.signal(signal.SIGINT, ignoring)
