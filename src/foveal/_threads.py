"""Work in shares among as many threads as torch has, for compiled loops that free the lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch

Task = Callable[[], Any]


def run(tasks: Iterable[Task]) -> None:
    """Run all tasks, each by the first thread that is free."""
    listed = list(tasks)
    remaining = iter(listed)

    def work() -> None:
        for task in remaining:
            task()

    threads = min(torch.get_num_threads(), len(listed))
    others = [_pool(torch.get_num_threads(), os.getpid()).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()


def shared(work: Callable[[int, int], None], images: int) -> None:
    """Call work(first, last) for consecutive images, two shares for each thread."""
    shares = min(2 * torch.get_num_threads(), images) if torch.get_num_threads() > 1 else 1
    ends = [images * share // shares for share in range(shares + 1)]
    run(partial(work, first, last) for first, last in pairwise(ends))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process; one that was forked has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"foveal-{process}")
