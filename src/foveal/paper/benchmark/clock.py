"""Median times of interleaved runs, and the machine they were taken on.

Importing this does not import torch.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: str,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each: ours, theirs, ours, theirs, so that a busy machine hits both."""
    import torch

    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def finish() -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)

    for _ in range(repeats):
        for name, run in runs.items():
            finish()
            begin = timer()
            run()
            finish()
            seconds[name].append(timer() - begin)
    return {name: statistics.median(each) for name, each in seconds.items()}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch with so many threads, and afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine(threads: int, device: str) -> str:
    """Processor, device, threads and torch, in words."""
    import torch

    from foveal.topk import compiled

    name = platform.processor() or platform.machine()
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        lines = processors.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    if device != "cpu":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    loops = "compiled loops" if compiled.AVAILABLE else "no compiled loops"
    return f"{name}, {threads} threads, {platform.system()}, torch {torch.__version__}, {loops}"
