"""Work split over as many threads as torch has, for compiled loops that release the GIL."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch

from foveal._futures import result_of, submit

Task = Callable[[], Any]


def run_tasks(tasks: Iterable[Task]) -> None:
    """Run all tasks, each on the first free thread."""
    listed = list(tasks)
    remaining = iter(listed)

    def work() -> None:
        for task in remaining:
            task()

    threads = min(torch.get_num_threads(), len(listed))
    if threads < 2:
        work()
        return
    pool = _pool(torch.get_num_threads(), os.getpid())
    others = submit(pool, lambda _: work(), range(threads - 1))
    work()
    for other in others:
        result_of(other)


def split(work: Callable[[int, int], None], images: int) -> None:
    """Call work(first, last) on consecutive ranges of images, two per thread."""
    parts = min(2 * torch.get_num_threads(), images) if torch.get_num_threads() > 1 else 1
    ends = [images * part // parts for part in range(parts + 1)]
    run_tasks(partial(work, first, last) for first, last in pairwise(ends))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process; a forked process does not inherit those of its parent."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"foveal-{process}")
