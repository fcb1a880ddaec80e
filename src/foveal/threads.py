"""Work on a batch in shares, one for each of torch's threads, for loops that free the lock."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def shared(work: Callable[[int, int], None], images: int) -> None:
    """Call work(first, last) for consecutive images, as many calls at once as torch has threads."""
    shares = min(torch.get_num_threads(), images)
    if shares <= 1:
        work(0, images)
        return
    ends = [images * share // shares for share in range(shares + 1)]
    calls = [
        _pool(os.getpid(), shares - 1).submit(work, ends[i], ends[i + 1]) for i in range(1, shares)
    ]
    work(ends[0], ends[1])
    for call in calls:
        call.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One a process: threads do not live on in a forked child."""
    return ThreadPoolExecutor(threads, thread_name_prefix="foveal")
