"""Time and memory of all variants of a task, side by side. Importing this does not import torch."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from foveal.paper.benchmark import clock


@dataclass(frozen=True)
class Measurement:
    """The figures of one variant.

    Attributes:
        name: an estimator, a way of extracting, or "plain".
        seconds: median time of a forward and a backward pass; None where it did not fit.
        megabytes: peak memory over its inputs, in 10^6 bytes; None where it did not fit.
        difference: the largest absolute difference of its result from the plain one's.
    """

    name: str
    seconds: float | None
    megabytes: float | None
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """What was measured, where, and the figures; ratios are those of the last row over each.

    Attributes:
        notes: what follows from the figures, a line each.
    """

    task: str
    settings: dict[str, Any]
    machine: str
    rows: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The whole table with its ratios (plain over ours), ready for JSON."""
        plain = self.rows[-1]
        rows = [
            asdict(row)
            | {
                "times_faster": _ratio(plain.seconds, row.seconds),
                "times_smaller": _ratio(plain.megabytes, row.megabytes),
            }
            for row in self.rows
        ]
        return asdict(self) | {"rows": rows}

    def __str__(self) -> str:
        """A Markdown table between what was asked and where it ran."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"{self.task}: {asked}",
            "",
            f"| {'':<28} |  seconds |       MB |   faster |  smaller | difference |",
            f"|-{'':-<28}-|---------:|---------:|---------:|---------:|-----------:|",
        ]
        for row in self.summary()["rows"]:
            cells = [
                format_cell(row[name], width)
                for name, width in (
                    ("seconds", 8),
                    ("megabytes", 8),
                    ("times_faster", 8),
                    ("times_smaller", 8),
                    ("difference", 10),
                )
            ]
            lines.append(f"| {row['name']:<28} | {' | '.join(cells)} |")
        return "\n".join([*lines, "", *self.notes, self.machine])


def _ratio(plain: float | None, ours: float | None) -> float | None:
    return plain / ours if plain and ours else None


def format_cell(value: float | None, width: int = 0) -> str:
    """Four digits, or a dash for what there is not."""
    return ("-" if value is None else f"{value:.4g}").rjust(width)


def compare(
    task: str,
    settings: dict[str, Any],
    repeats: int,
    threads: int,
    device: str,
    *,
    plain: bool = True,
    peers: bool = True,
    limit: int | None = None,
    timer: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Memory first, each variant alone; then the time of those that fit, in turns.

    Args:
        task: see `foveal.paper.benchmark.tasks`.
        settings: of the task.
        repeats: number of timed runs of each variant.
        threads: number of processor threads.
        device: cpu or cuda.
        plain: whether the plain version is among the variants.
        peers: whether other packages are.
        limit: bytes that a variant may take on the processor; None: what the machine has.
        timer: clock of the runs.
    """
    from foveal.paper.benchmark import peak, tasks

    names = tuple(
        name
        for name in tasks.names(task, settings)
        if (plain or name != tasks.PLAIN) and (peers or name not in tasks.PEERS)
    )
    memory: dict[str, int | None] = {}
    if device == "cpu":
        memory = {
            name: peak.fresh(task, name, tasks.alone(task, name, settings), threads, limit)
            for name in names
        }
    with clock.threads(threads):
        runs = tasks.runs(task, settings, device)
        # some packages run on the CPU only
        memory = memory or {
            name: peak.on_device(runs[name], device) for name in names if name in runs
        }
        fitting = {name: runs[name] for name, size in memory.items() if size is not None}
        values = {name: run() for name, run in fitting.items()}
        seconds = clock.interleaved(fitting, repeats, device, timer)
    rows = []
    for name, size in memory.items():
        apart = None
        if name in values and tasks.PLAIN in values:
            apart = (values[name] - values[tasks.PLAIN]).abs().max().item()
        megabytes = None if size is None else size / 1e6
        rows.append(Measurement(name, seconds.get(name), megabytes, apart))
    return Comparison(task, settings, clock.machine(threads, device), tuple(rows))
