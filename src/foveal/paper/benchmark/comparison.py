"""The figures of all sides of a task. Importing this does not import torch."""

from typing import Any

from foveal.paper.benchmark import clock
from foveal.paper.benchmark.table import Row, Table


def compare(
    task: str,
    settings: dict[str, Any],
    repeats: int,
    threads: int,
    device: str,
    *,
    plain: bool = True,
    peers: bool = True,
) -> Table:
    """Memory first, each side alone; then the time of those that fit, in turns.

    Args:
        task: see `foveal.paper.benchmark.tasks`.
        settings: of the task.
        repeats: timed runs of each side.
        threads: of the processor.
        device: cpu or cuda.
        plain: whether the plain version is among the sides.
        peers: whether other packages are.
    """
    from foveal.paper.benchmark import peak, tasks

    names = tuple(
        name
        for name in tasks.names(task, settings)
        if (plain or name != tasks.PLAIN) and (peers or name not in tasks.PEERS)
    )
    memory = {
        name: peak.fresh(task, name, tasks.alone(task, name, settings), threads, device)
        for name in names
    }
    with clock.threads(threads):
        runs = tasks.runs(task, settings, device)
        fitting = {name: runs[name] for name in names if memory[name] is not None}
        values = {name: run() for name, run in fitting.items()}
        seconds = clock.interleaved(fitting, repeats, device)
    rows = []
    for name, size in memory.items():
        apart = None
        if name in values and tasks.PLAIN in values:
            apart = (values[name] - values[tasks.PLAIN]).abs().max().item()
        megabytes = None if size is None else size / 1e6
        rows.append(Row(name, seconds.get(name), megabytes, apart))
    return Table(task, settings, clock.machine(threads, device), tuple(rows))
