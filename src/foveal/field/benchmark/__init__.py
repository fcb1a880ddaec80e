"""Methods on the field tasks: the same encoder, first weights and minutes for all of them.

    tasks x folds x seeds x methods  ->  one row of results.jsonl each  ->  a Markdown table

Importing this does not import torch.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from foveal._terminal import note
from foveal.errors import UserError
from foveal.field.benchmark.common import Common, Method
from foveal.field.benchmark.data_sets import TaskData, prepare
from foveal.field.benchmark.results import Cell, Results
from foveal.field.groups import check_fold

__all__ = ["Cell", "Common", "Method", "Results", "field"]


def field(
    *,
    output: Path = Path("field"),
    table: Path | None = None,
    tasks: tuple[str, ...] = ("street-prohibitory", "street-limit", "boards", "screws"),
    sources: Path | None = None,
    methods: tuple[Method, ...] = get_args(Method),
    folds: tuple[int, ...] = (0,),
    seeds: tuple[int, ...] = (0, 1, 2),
    common: Common = Common(),
) -> Results:
    """Compare foveal with other methods on the field tasks, with the same minutes for all.

    One line of results.jsonl is written for every finished cell: a task, a fold, a method and a
    seed. The same command skips finished cells: after an interruption it goes on with the one that
    was in progress. Prints a Markdown table: the median over folds and seeds, and the worst.

    Methods: foveal; whole-448 and whole-896, the encoder on the whole image, its longer side
    resampled to so many pixels at most; dense, the encoder on the whole image at full size, the
    evidence of its cells pooled; ips, iterative patch selection; random, as many random windows.

    Args:
        output: folder of the data sets and of results.jsonl.
        table: only print the table of this results.jsonl.
        tasks: names of field tasks, see foveal data --help; or CSV files of data sets.
        sources: folder with the folders of the sources: gtsdb, deeppcb, bsdata and mnist.
        methods: foveal, whole-448, whole-896, dense, ips or random.
        folds: folds of the tasks that have some, 0 to 4.
        seeds: seeds of weights, batches and augmentation; the images are the same for all.
        common: what all methods share.

    Raises:
        UserError: an option or a source is not usable.
    """
    if table is not None:
        return Results.read(table)
    for method in methods:
        if method not in get_args(Method):
            raise UserError(f"--methods {method}: choose {', '.join(get_args(Method))}")
    for fold in folds:
        check_fold(fold)
    data_sets = [
        data for task, fold in itertools.product(tasks, folds) for data in prepare(task, fold)
    ]
    for data in data_sets:
        data.check(sources)
    file = output / "results.jsonl"
    for data, seed, method in _cells(data_sets, seeds, methods):
        cell = Cell(data.task, data.fold, method, seed, common.minutes)
        if cell in Results.read(file, missing=True).cells:
            continue
        from foveal.field.benchmark.run import run_cell  # torch: not before the options are checked

        note(f"{cell}: begins")
        labels = data.labels(output / "data", sources)
        try:
            row = run_cell(cell, labels, common)
        except UserError as error:  # the others can still be measured
            note(f"{cell}: {error}")
            continue
        Results.append(file, row)
    return Results.read(file, missing=True)


def _cells(
    data_sets: Sequence[TaskData], seeds: Sequence[int], methods: Sequence[Method]
) -> Iterator[tuple[TaskData, int, Method]]:
    """Every combination; all methods of a seed come before the next seed."""
    for seed, data, method in itertools.product(seeds, data_sets, methods):
        yield data, seed, method
