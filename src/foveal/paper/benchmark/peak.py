"""The peak memory of one run: on a GPU as its allocator counts it, else in a fresh process.

On the processor a large peak would hide the small ones after it, so every run gets a process of its
own. On Linux the peak is the kernel's high-water mark of resident memory, set back once the inputs
are made. Elsewhere it cannot be set back, and the figure is too low where loading took more than
the run.
"""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from foveal._processes import ProcessFailed, in_fresh_process

# A run that pays once for what torch loads when first needed, before memory is measured.
_TINY: dict[str, dict[str, Any]] = {
    "selection": {"batch": 1, "candidates": 8, "k": 2, "samples": 4},
    "extraction": {"batch": 1, "image": (32, 32), "stride": 8, "patch": (8, 8), "k": 2},
    "step": {"batch": 2, "size": 96, "view": 40, "patch": 32, "k": 2},
    "models": {"batch": 2, "size": 96, "downscale": 4, "patch": 32, "k": 2},
    "operators": {"batch": 1, "candidates": 8, "k": 2},
}
_STATUS = Path("/proc/self/status")
_REFUSED = ("allocate memory", "Unable to allocate", "Out of memory", "MemoryError", "bad_alloc")


def on_device(run: Callable[[], Any], device: str) -> int | None:
    """The bytes of a GPU that a run takes beyond what is held; None without enough memory."""
    import torch

    try:
        run()  # pays once for what is loaded and compiled when first needed
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        return None
    return int(torch.cuda.max_memory_allocated(device) - before)


def fresh(
    task: str,
    variant: str,
    settings: Mapping[str, Any],
    threads: int,
    limit: int | None = None,
) -> int | None:
    """The bytes that one run of a variant takes beyond its inputs; None without enough memory.

    Args:
        task: see `foveal.paper.benchmark.tasks`.
        variant: of the task.
        settings: of the task.
        threads: number of processor threads.
        limit: bytes that the run may take; None: what the machine has. Kept on Linux alone.

    Raises:
        RuntimeError: the run failed for another reason than memory.
    """
    order: dict[str, Any] = {"task": task, "variant": variant, "settings": dict(settings)}
    order |= {"threads": threads, "limit": limit}
    try:
        return in_fresh_process(_measure, order, imports="foveal.paper.benchmark.tasks")
    except ProcessFailed as failed:
        if failed.status == -9 or any(words in str(failed) for words in _REFUSED):  # or killed
            return None
        raise RuntimeError(
            f"{task} with {variant} failed in its own process:\n{failed}"
        ) from failed


def _measure(
    *, task: str, variant: str, settings: dict[str, Any], threads: int, limit: int | None
) -> int:
    tiny = settings | _TINY[task]
    import torch

    from foveal.paper.benchmark import tasks

    torch.set_num_threads(threads)
    tasks.runs(task, tiny, "cpu")[variant]()
    run = tasks.runs(task, settings, "cpu")[variant]
    gc.collect()
    with suppress(AttributeError):  # glibc's; else the run uses what the small one left, unseen
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # the high-water mark becomes what is used now
        Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    if limit is not None and _STATUS.exists():
        most = _status("VmData") + limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    run()
    return high_water() - before


def high_water() -> int:
    """Bytes of resident memory at their highest."""
    # Not ru_maxrss on Linux: a child's begins with what its parent held.
    if _STATUS.exists():
        return _status("VmHWM")
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def _status(name: str) -> int:
    """An entry of the kernel's table of this process, in bytes."""
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
